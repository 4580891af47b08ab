// RUN: lorac-opt %s --lora-differentiate --canonicalize | FileCheck %s
// RUN: lorac-opt %s --lora-differentiate=label-smoothing=0.1 | FileCheck %s --check-prefix=SMOOTHED
// Two linears, the upper one adapted: gradients of its factors, none of what lies below.

lora.frozen @embed : !lora.weight<16x8, f32>
lora.frozen @norm : !lora.weight<8, vector>
lora.frozen @low : !lora.weight<8x8, f32>
lora.frozen @high : !lora.weight<8x8, f32>
lora.param @a : tensor<2x8xf32>
lora.param @b : tensor<8x2xf32>

lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x8xf32> {
  %e = lora.use @embed : !lora.weight<16x8, f32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x8, f32>) -> tensor<?x8xf32>
  %wl = lora.use @low : !lora.weight<8x8, f32>
  %l = lora.linear %x, %wl : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  %wh = lora.use @high : !lora.weight<8x8, f32>
  %base = lora.linear %l, %wh : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  %a = lora.use @a : tensor<2x8xf32>
  %b = lora.use @b : tensor<8x2xf32>
  %up = lora.low_rank %l, %a, %b scale 2.0 : (tensor<?x8xf32>, tensor<2x8xf32>, tensor<8x2xf32>) -> tensor<?x8xf32>
  %y = lora.map %base, %up : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  %n = lora.use @norm : !lora.weight<8, vector>
  %h = lora.rms_norm %y, %n eps 1.0e-05 : (tensor<?x8xf32>, !lora.weight<8, vector>) -> tensor<?x8xf32>
  lora.return %h : tensor<?x8xf32>
}
lora.program inference @loss(%h: tensor<?x8xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<16x8, f32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x8xf32>, !lora.weight<16x8, f32>, tensor<?xi32>) -> tensor<?xf32>
  lora.return %l : tensor<?xf32>
}

// The described model stays, for evaluation.
// CHECK-LABEL: lora.program inference @hidden
// CHECK-LABEL: lora.program inference @loss
// CHECK-LABEL: lora.program micro_batch @train
// CHECK-SAME: (%[[IDS:.*]]: tensor<?xi32>, %{{.*}}: tensor<?xi32>, %{{.*}}: tensor<?xi32>, %[[LABELS:.*]]: tensor<?xi32>) -> tensor<?xf32>
// CHECK: %[[L:.*]] = lora.linear
// CHECK: %[[A:.*]] = lora.use @a
// CHECK: %[[B:.*]] = lora.use @b
// CHECK: %[[Y:.*]] = lora.map
// CHECK: %[[H:.*]] = lora.rms_norm %[[Y]]
// CHECK: %[[LOSS:.*]], %[[DH:.*]] = lora.cross_entropy_backward %[[H]], %{{.*}}, %[[LABELS]]
// CHECK-NEXT: %[[DY:.*]] = lora.rms_norm_backward %[[Y]], %{{.*}}, %[[DH]] eps
// A sum hands its gradient on; nothing below needs one, so there is no dx and no linear_backward.
// CHECK-NEXT: %[[DA:.*]], %[[DB:.*]] = lora.low_rank_backward %[[L]], %[[A]], %[[B]], %[[DY]] scale 2.000000e+00 {{.*}} -> (tensor<2x8xf32>, tensor<8x2xf32>)
// CHECK-NEXT: lora.gradient @b, %[[DB]]
// CHECK-NEXT: lora.gradient @a, %[[DA]]
// CHECK-NEXT: lora.return %[[LOSS]]

// The loss that a model is measured by has whole labels.
// SMOOTHED-LABEL: lora.program inference @loss
// SMOOTHED-NOT: smoothing
// SMOOTHED-LABEL: lora.program micro_batch @train
// SMOOTHED: lora.cross_entropy_backward %{{.*}}, %{{.*}}, %{{.*}} smoothing 1.000000e-01
