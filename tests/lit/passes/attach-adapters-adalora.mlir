// RUN: lorac-opt %s --lora-attach-adapters | FileCheck %s
// AdaLoRA: E beside A and B, in no product; the orthogonality term as a function. The mean is over all adapters, also one of rank 0.

module {
  lora.frozen @q.weight : !lora.weight<16x32, f32>
  lora.frozen @v.weight : !lora.weight<16x32, f32>
  lora.adapter @q of @q.weight rank 4 scale 2.0 falls [4, 0, 8]
  lora.adapter @v of @v.weight rank 0 scale 2.0 falls [4, 0, 8]
  lora.adalora initial 8 target 4 orth_reg_weight 0.5
  // CHECK: lora.param @q.lora_A.weight lora_A of @q : tensor<4x32xf32>
  // CHECK: lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
  // CHECK: lora.param @q.lora_E.weight lora_E of @q : tensor<4x1xf32>
  // CHECK-LABEL: lora.program inference @hidden
  lora.program inference @hidden(%x: tensor<?x32xf32>) -> (tensor<?x16xf32>, tensor<?x16xf32>) {
    // CHECK-NOT: lora_E
    %w = lora.use @q.weight : !lora.weight<16x32, f32>
    %y = lora.linear %x, %w : (tensor<?x32xf32>, !lora.weight<16x32, f32>) -> tensor<?x16xf32>
    %v = lora.use @v.weight : !lora.weight<16x32, f32>
    %z = lora.linear %x, %v : (tensor<?x32xf32>, !lora.weight<16x32, f32>) -> tensor<?x16xf32>
    lora.return %y, %z : tensor<?x16xf32>, tensor<?x16xf32>
  }
  // CHECK-LABEL: lora.program window_end @regularize() -> (tensor<1xf32>, tensor<1xf32>)
  // CHECK: %[[A:.*]] = lora.use @q.lora_A.weight
  // CHECK-NEXT: %[[GA:.*]] = lora.matmul nt %[[A]], %[[A]]
  // CHECK-NEXT: %[[DA:[^,]*]], %[[NA:.*]] = lora.orthogonal_term %[[GA]] scale 2.500000e-01
  // CHECK-NEXT: %[[MA:.*]] = lora.matmul nn %[[DA]], %[[A]]
  // CHECK-NEXT: lora.gradient @q.lora_A.weight, %[[MA]]
  // CHECK: %[[B:.*]] = lora.use @q.lora_B.weight
  // CHECK-NEXT: %[[GB:.*]] = lora.matmul tn %[[B]], %[[B]]
  // CHECK-NEXT: %[[DB:[^,]*]], %[[NB:.*]] = lora.orthogonal_term %[[GB]] scale 2.500000e-01
  // CHECK-NEXT: %[[MB:.*]] = lora.matmul nn %[[B]], %[[DB]]
  // CHECK-NEXT: lora.gradient @q.lora_B.weight, %[[MB]]
  // CHECK: lora.return %[[NA]], %[[NB]]
}
