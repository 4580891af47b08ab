// RUN: lorac-opt %s --lora-select-kernels --split-input-file --verify-diagnostics

// expected-error@+1 {{needs the attributes 'lora.max_tokens' and 'lora.max_length'}}
module {
}

// -----

// A product over a frozen weight that FuseKernels has not seen.
module attributes {lora.max_tokens = 64 : i64, lora.max_length = 16 : i64} {
  lora.frozen @w : !lora.weight<4x8, f32>
  func.func @head(%h: tensor<?x8xf32> loc("h")) -> tensor<?x4xf32> {
    %w = lora.use @w : !lora.weight<4x8, f32>
    // expected-error@+1 {{has no kernel: FuseKernels should have taken it in}}
    %y = lora.linear %h, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
    return %y : tensor<?x4xf32>
  }
}

// -----

// A map over what has no tokens.
module attributes {lora.max_tokens = 64 : i64, lora.max_length = 16 : i64} {
  lora.param @m : tensor<4xf32>
  func.func @f() {
    %m = lora.use @m : tensor<4xf32>
    // expected-error@+1 {{has no kernel: its results are no rows of tokens}}
    %y = lora.map %m : (tensor<4xf32>) -> tensor<4xf32> {
    ^bb0(%x: f32):
      lora.yield %x : f32
    }
    return
  }
}

// -----

// A parameter set to another's value.
module attributes {lora.max_tokens = 64 : i64, lora.max_length = 16 : i64} {
  lora.param @m : tensor<4xf32>
  lora.param @n : tensor<4xf32>
  func.func @f() {
    %m = lora.use @m : tensor<4xf32>
    // expected-error@+1 {{has no kernel: one parameter is set to what one lora.weight_norm gives}}
    lora.set @n, %m : tensor<4xf32>
    return
  }
}
