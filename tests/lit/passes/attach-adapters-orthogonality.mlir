// RUN: lorac-opt %s --split-input-file --lora-attach-adapters | FileCheck %s
// The orthogonality term of LoRA and DoRA: that of AdaLoRA, with a whole identity, and no magnitude in it.

module {
  lora.frozen @q.weight : !lora.weight<16x32, f32>
  lora.adapter @q of @q.weight rank 4 scale 2.0
  lora.orthogonality weight 0.5
  lora.program inference @hidden(%x: tensor<?x32xf32>) -> tensor<?x16xf32> {
    %w = lora.use @q.weight : !lora.weight<16x32, f32>
    %y = lora.linear %x, %w : (tensor<?x32xf32>, !lora.weight<16x32, f32>) -> tensor<?x16xf32>
    lora.return %y : tensor<?x16xf32>
  }
  // CHECK-LABEL: lora.program window_end @regularize() -> (tensor<1xf32>, tensor<1xf32>)
  // CHECK: %[[A:.*]] = lora.use @q.lora_A.weight
  // CHECK-NEXT: %[[GA:.*]] = lora.matmul nt %[[A]], %[[A]]
  // CHECK-NEXT: %[[DA:[^,]*]], %[[NA:.*]] = lora.orthogonal_term %[[GA]] scale 5.000000e-01 whole
  // CHECK-NEXT: %[[MA:.*]] = lora.matmul nn %[[DA]], %[[A]]
  // CHECK-NEXT: lora.gradient @q.lora_A.weight, %[[MA]]
  // CHECK: %[[DB:[^,]*]], %[[NB:.*]] = lora.orthogonal_term %{{.*}} scale 5.000000e-01 whole
  // CHECK: lora.gradient @q.lora_B.weight
  // CHECK: lora.return %[[NA]], %[[NB]]
}

// -----

module {
  lora.frozen @q.weight : !lora.weight<16x32, f32>
  lora.adapter @q of @q.weight rank 4 scale 2.0 method "dora"
  lora.orthogonality weight 0.5
  lora.program inference @hidden(%x: tensor<?x32xf32>) -> tensor<?x16xf32> {
    %w = lora.use @q.weight : !lora.weight<16x32, f32>
    %y = lora.linear %x, %w : (tensor<?x32xf32>, !lora.weight<16x32, f32>) -> tensor<?x16xf32>
    lora.return %y : tensor<?x16xf32>
  }
  // CHECK-LABEL: lora.program window_end @regularize() -> (tensor<1xf32>, tensor<1xf32>)
  // CHECK-NOT: magnitude
}
