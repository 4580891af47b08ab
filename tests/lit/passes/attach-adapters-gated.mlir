// RUN: lorac-opt %s --lora-attach-adapters | FileCheck %s
// Gated LoRA: each row of the update has a trained factor; the base product has none.

module {
  // CHECK: lora.param @q.lora_A.weight lora_A of @q : tensor<2x8xf32>
  // CHECK-NEXT: lora.param @q.lora_B.weight lora_B of @q : tensor<4x2xf32>
  // CHECK-NEXT: lora.param @q.lora_gate lora_gate of @q : tensor<4xf32>
  lora.frozen @q.weight : !lora.weight<4x8, nf4<64>>
  lora.adapter @q of @q.weight rank 2 scale 2.0 dropout 0.1 method "gated"

  // CHECK-LABEL: lora.program inference @hidden
  // CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>)
  lora.program inference @hidden(%x: tensor<?x8xf32>) -> tensor<?x4xf32> {
    // CHECK: %[[BASE:.*]] = lora.linear %[[X]],
    // CHECK-NEXT: %[[D:.*]] = lora.dropout %[[X]] p 1.000000e-01 stream 0
    // CHECK: %[[UP:.*]] = lora.low_rank %[[D]], %{{.*}}, %{{.*}} scale 2.000000e+00
    // CHECK-NEXT: %[[G:.*]] = lora.use @q.lora_gate
    // CHECK-NEXT: %[[GATED:.*]] = lora.map %[[UP]], %[[G]] :
    // CHECK-NEXT: ^bb0(%[[UE:.*]]: f32, %[[GE:.*]]: f32):
    // CHECK-NEXT: arith.mulf %[[GE]], %[[UE]]
    // CHECK: %[[Y:.*]] = lora.map %[[BASE]], %[[GATED]] :
    // CHECK: lora.return %[[Y]]
    %w = lora.use @q.weight : !lora.weight<4x8, nf4<64>>
    %q = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, nf4<64>>) -> tensor<?x4xf32>
    lora.return %q : tensor<?x4xf32>
  }
  // The gate begins without a program.
  // CHECK-NOT: lora.program start
}
