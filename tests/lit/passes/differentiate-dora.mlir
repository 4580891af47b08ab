// RUN: lorac-opt %s --lora-attach-adapters --lora-differentiate --canonicalize --cse | FileCheck %s
// The length of a row is a constant in the backward pass; the gradient of the trained one is a sum over tokens.

lora.frozen @embed : !lora.weight<16x8, f32>
lora.frozen @q.weight : !lora.weight<8x8, f32>
lora.adapter @q of @q.weight rank 2 scale 2.0 method "dora"

lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  %w = lora.use @q.weight : !lora.weight<8x8, f32>
  %q = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  lora.return %q : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}

// CHECK-LABEL: lora.program micro_batch @train
// CHECK: %[[M:.*]] = lora.use @q.lora_magnitude_vector
// CHECK: %[[N:.*]] = lora.weight_norm
// CHECK: %[[Z:.*]] = lora.map %{{.*}}, %{{.*}} : (tensor<?x8xf32>, tensor<?x8xf32>)
// CHECK: lora.map %[[Z]], %[[M]], %[[N]] :
// CHECK: %{{.*}}, %[[DH:.*]] = lora.cross_entropy_backward
// CHECK-NEXT: %[[D:.*]]:2 = lora.map %[[Z]], %[[M]], %[[N]], %[[DH]] : (tensor<?x8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>)
// CHECK: %[[DM:.*]] = lora.sum_rows %[[D]]#1 : tensor<?x8xf32> to tensor<8xf32>
// CHECK-NEXT: lora.gradient @q.lora_magnitude_vector, %[[DM]]
// CHECK-NEXT: lora.low_rank_backward %{{.*}}, %{{.*}}, %{{.*}}, %[[D]]#0
// CHECK-NOT: weight_norm
// CHECK: lora.return
