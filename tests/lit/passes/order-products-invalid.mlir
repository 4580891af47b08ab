// RUN: lorac-opt %s --split-input-file --verify-diagnostics --lora-order-products
// Products are shared by the symbol of A, so A has to be one.

lora.param @b : tensor<32x4xf32>
lora.program micro_batch @train(%x: tensor<?x64xf32>, %a: tensor<4x64xf32>) -> tensor<?x32xf32> {
  %b = lora.use @b : tensor<32x4xf32>
  // expected-error@+1 {{has an A that is no lora.use}}
  %y = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>) -> tensor<?x32xf32>
  lora.return %y : tensor<?x32xf32>
}

// -----

lora.param @b : tensor<32x4xf32>
lora.program micro_batch @train(%x: tensor<?x64xf32>, %a: tensor<4x64xf32>, %dy: tensor<?x32xf32>) -> tensor<?x64xf32> {
  %b = lora.use @b : tensor<32x4xf32>
  // expected-error@+1 {{has an A that is no lora.use}}
  %da, %db, %dx = lora.low_rank_backward %x, %a, %b, %dy scale 2.0
      : (tensor<?x64xf32>, tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x32xf32>) -> (tensor<4x64xf32>, tensor<32x4xf32>, tensor<?x64xf32>)
  lora.return %dx : tensor<?x64xf32>
}
