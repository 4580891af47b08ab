// RUN: lorac-opt %s --lora-differentiate --canonicalize | FileCheck %s
// A value that is read twice: its gradients add up. The lower adapter wants them, so the upper one gives its dx.

lora.frozen @embed : !lora.weight<16x8, f32>
lora.param @a : tensor<2x8xf32>
lora.param @b : tensor<8x2xf32>
lora.param @c : tensor<2x8xf32>
lora.param @d : tensor<8x2xf32>

lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  %a = lora.use @a : tensor<2x8xf32>
  %b = lora.use @b : tensor<8x2xf32>
  %y = lora.low_rank %x, %a, %b scale 2.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %c = lora.use @c : tensor<2x8xf32>
  %d = lora.use @d : tensor<8x2xf32>
  %z = lora.low_rank %y, %c, %d scale 2.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %h = lora.map %y, %z : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.mulf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %h : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}

// CHECK-LABEL: lora.program micro_batch @train
// CHECK: %[[X:.*]] = lora.embed
// CHECK: %[[Y:.*]] = lora.low_rank %[[X]]
// CHECK: %[[Z:.*]] = lora.low_rank %[[Y]]
// CHECK: %{{.*}}, %[[DH:.*]] = lora.cross_entropy_backward
// Both halves of the product's gradient in one map.
// CHECK-NEXT: %[[BOTH:.*]]:2 = lora.map %[[Y]], %[[Z]], %[[DH]] :
// CHECK: %[[DC:.*]], %[[DD:.*]], %[[DX:.*]] = lora.low_rank_backward %[[Y]], %{{.*}}, %{{.*}}, %[[BOTH]]#1
// CHECK: %[[DY:.*]] = lora.map %[[BOTH]]#0, %[[DX]] :
// CHECK: arith.addf
// CHECK: lora.gradient @d, %[[DD]]
// CHECK: lora.gradient @c, %[[DC]]
// CHECK: lora.low_rank_backward %[[X]], %{{.*}}, %{{.*}}, %[[DY]]
// CHECK: lora.gradient @b
// CHECK: lora.gradient @a
