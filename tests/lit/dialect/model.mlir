// RUN: lorac-opt %s | FileCheck %s
// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s --mlir-print-op-generic | lorac-opt | FileCheck %s
// Ops of the described model print as they parse, also through the generic form.

lora.frozen @embed : !lora.weight<512x64, f32>
lora.frozen @norm : !lora.weight<64, vector>
lora.frozen @bias : !lora.weight<64, vector> {hf_add = 1.000000e+00 : f64}
// CHECK: lora.frequencies @rope [{{.*}}] factor 1.500000e+00
lora.frequencies @rope [1.0, 0.3162, 0.1, 0.03162, 0.01, 0.003162, 0.001, 0.0003162] factor 1.5
lora.frozen @q : !lora.weight<64x64, nf4<64, dq256>>

// CHECK-LABEL: lora.program micro_batch @norm_and_embed
lora.program micro_batch @norm_and_embed(%ids: tensor<?xi32>) -> tensor<?x64xf32> {
  // CHECK: %[[E:.*]] = lora.use @embed : !lora.weight<512x64, f32>
  %e = lora.use @embed : !lora.weight<512x64, f32>
  // CHECK: %[[X:.*]] = lora.embed %{{.*}}, %[[E]] : (tensor<?xi32>, !lora.weight<512x64, f32>) -> tensor<?x64xf32>
  %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<512x64, f32>) -> tensor<?x64xf32>
  %w = lora.use @norm : !lora.weight<64, vector>
  // CHECK: lora.rms_norm %[[X]], %{{.*}} eps 1.000000e-05 : (tensor<?x64xf32>, !lora.weight<64, vector>) -> tensor<?x64xf32>
  %y = lora.rms_norm %x, %w eps 1.0e-05 : (tensor<?x64xf32>, !lora.weight<64, vector>) -> tensor<?x64xf32>
  lora.return %y : tensor<?x64xf32>
}

// CHECK-LABEL: lora.program micro_batch @attention
lora.program micro_batch @attention(%x: tensor<?x64xf32>, %k: tensor<?x2x16xf32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) {
  %w = lora.use @q : !lora.weight<64x64, nf4<64, dq256>>
  // CHECK: %[[Y:.*]] = lora.linear %{{.*}}, %{{.*}} : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64, dq256>>) -> tensor<?x64xf32>
  %y = lora.linear %x, %w : (tensor<?x64xf32>, !lora.weight<64x64, nf4<64, dq256>>) -> tensor<?x64xf32>
  // CHECK: %[[V:.*]] = lora.view %[[Y]] : tensor<?x64xf32> to tensor<?x4x16xf32>
  %v = lora.view %y : tensor<?x64xf32> to tensor<?x4x16xf32>
  // CHECK: %[[R:.*]] = lora.rope %[[V]], %{{.*}} by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  %r = lora.rope %v, %positions by @rope : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  // CHECK: lora.rope %[[R]], %{{.*}} by @rope inverse : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  %b = lora.rope %r, %positions by @rope inverse : (tensor<?x4x16xf32>, tensor<?xi32>) -> tensor<?x4x16xf32>
  // CHECK: %{{.*}}, %{{.*}} = lora.attention %[[R]], %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01
  // CHECK-SAME: : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  %o, %lse = lora.attention %r, %k, %k, %segments scale 2.5e-01
      : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x64xf32>, tensor<?x4xf32>)
  // CHECK: lora.attention_backward %[[R]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}} scale 2.500000e-01
  // CHECK-SAME: -> (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>)
  %dq, %dk, %dv = lora.attention_backward %r, %k, %k, %segments, %o, %lse, %o scale 2.5e-01
      : (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?x64xf32>, tensor<?x4xf32>, tensor<?x64xf32>)
      -> (tensor<?x4x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>)
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @map
lora.program micro_batch @map(%a: tensor<?x64xf32>, %b: tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK: lora.map %{{.*}}, %{{.*}} : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  // CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %[[R:.*]]: f32):
  // CHECK-NEXT: %[[S:.*]] = arith.mulf %[[X]], %[[R]] : f32
  // CHECK-NEXT: lora.yield %[[S]] : f32
  // CHECK-NEXT: }
  %y = lora.map %a, %b : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
  ^bb0(%x: f32, %r: f32):
    %s = arith.mulf %x, %r : f32
    lora.yield %s : f32
  }
  lora.return %y : tensor<?x64xf32>
}

// CHECK-LABEL: lora.program inference @loss
lora.program inference @loss(%h: tensor<?x64xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
  %w = lora.use @embed : !lora.weight<512x64, f32>
  // CHECK: lora.cross_entropy %{{.*}}, %{{.*}}, %{{.*}} : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> tensor<?xf32>
  %l = lora.cross_entropy %h, %w, %labels : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> tensor<?xf32>
  // CHECK: %{{.*}}, %{{.*}} = lora.cross_entropy_backward %{{.*}}, %{{.*}}, %{{.*}} :
  // CHECK-SAME: (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>)
  %both, %dh = lora.cross_entropy_backward %h, %w, %labels
      : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>)
  // CHECK: lora.cross_entropy_backward %{{.*}}, %{{.*}}, %{{.*}} smoothing 1.000000e-01 : (
  %smoothed, %ds = lora.cross_entropy_backward %h, %w, %labels smoothing 0.1
      : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>)
  // CHECK: lora.cross_entropy_backward %{{.*}}, %{{.*}}, %{{.*}} smoothing 1.000000e-01 : (
  %smoothed, %ds = lora.cross_entropy_backward %h, %w, %labels smoothing 0.1
      : (tensor<?x64xf32>, !lora.weight<512x64, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x64xf32>)
  lora.return %l : tensor<?xf32>
}
