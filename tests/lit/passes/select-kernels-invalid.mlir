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
