// RUN: lorac-opt %s --lora-select-kernels --split-input-file --verify-diagnostics

// expected-error@+1 {{needs a lora.limits, which says how many tokens a micro-batch has}}
module {
}

// -----

// A product over a frozen weight that FuseKernels has not seen.
module {
  lora.limits tokens 64 length 16
  lora.frozen @w : !lora.weight<4x8, f32>
  lora.program inference @head(%h: tensor<?x8xf32> loc("h")) -> tensor<?x4xf32> {
    %w = lora.use @w : !lora.weight<4x8, f32>
    // expected-error@+1 {{has no kernel: FuseKernels should have taken it in}}
    %y = lora.linear %h, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    lora.return %y : tensor<?x4xf32>
  }
}

// -----

// A map over what has no tokens.
module {
  lora.limits tokens 64 length 16
  lora.param @m : tensor<4xf32>
  lora.program micro_batch @f() {
    %m = lora.use @m : tensor<4xf32>
    // expected-error@+1 {{has no kernel: its results are no rows of tokens}}
    %y = lora.map %m : (tensor<4xf32>) -> tensor<4xf32> {
    ^bb0(%x: f32):
      lora.yield %x : f32
    }
    lora.return
  }
}

// -----

// A parameter set to another's value.
module {
  lora.limits tokens 64 length 16
  lora.param @m : tensor<4xf32>
  lora.param @n : tensor<4xf32>
  lora.program micro_batch @f() {
    %m = lora.use @m : tensor<4xf32>
    // expected-error@+1 {{has no kernel: one parameter is set to what one lora.weight_norm gives}}
    lora.set @n, %m : tensor<4xf32>
    lora.return
  }
}
