// RUN: lorac-opt %s --lora-fuse-kernels --canonicalize | FileCheck %s
// Sums are written as lora.map; the fused op takes the sum's place.

// y = residual + base + low-rank: one op, its chain starts from the residual.
// CHECK-LABEL: lora.program micro_batch @forward
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[T:.*]]: tensor<?x2xf32>, %[[B:.*]]: tensor<4x2xf32>, %[[R:.*]]: tensor<?x4xf32>, %[[W:.*]]: !lora.weight<4x8, f32>)
// CHECK-NEXT: %[[Y:.*]] = lora.adapted_linear(%[[X]], %[[W]]) low_rank(%[[T]], %[[B]]) residual(%[[R]]) scale 2.000000e+00
// CHECK-NEXT: lora.return %[[Y]]
lora.program micro_batch @forward(%x: tensor<?x8xf32>, %t: tensor<?x2xf32>, %b: tensor<4x2xf32>, %r: tensor<?x4xf32>, %w: !lora.weight<4x8, f32>) -> tensor<?x4xf32> {
  %base = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  %up = lora.matmul nt %t, %b scale 2.0 : (tensor<?x2xf32>, tensor<4x2xf32>) -> tensor<?x4xf32>
  %sum = lora.map %base, %up : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  %y = lora.map %r, %sum : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %y : tensor<?x4xf32>
}

// dx of two modules that read one x: each product onto the sum so far, each with the panel of its own module (by its symbol).
lora.frozen @q.weight : !lora.weight<4x8, f32>
lora.frozen @v.weight : !lora.weight<4x8, f32>
lora.adapter @q of @q.weight rank 2 scale 1.0
lora.adapter @v of @v.weight rank 2 scale 1.0
lora.param @q.a lora_A of @q : tensor<2x8xf32>
lora.param @v.a lora_A of @v : tensor<2x8xf32>
// CHECK-LABEL: lora.program micro_batch @backward
// CHECK-SAME: (%[[DQ:.*]]: tensor<?x4xf32>, %[[DV:.*]]: tensor<?x4xf32>, %[[TQ:.*]]: tensor<?x2xf32>, %[[TV:.*]]: tensor<?x2xf32>)
// CHECK-DAG: %[[QW:.*]] = lora.use @q.weight
// CHECK-DAG: %[[VW:.*]] = lora.use @v.weight
// CHECK-DAG: %[[QA:.*]] = lora.use @q.a
// CHECK-DAG: %[[VA:.*]] = lora.use @v.a
// CHECK-NEXT: %[[FIRST:.*]] = lora.adapted_linear_backward(%[[DQ]], %[[QW]]) low_rank(%[[TQ]], %[[QA]]) :
// CHECK-NEXT: %[[BOTH:.*]] = lora.adapted_linear_backward(%[[DV]], %[[VW]]) low_rank(%[[TV]], %[[VA]]) onto(%[[FIRST]]) :
// CHECK-NEXT: lora.return %[[BOTH]]
lora.program micro_batch @backward(%dq: tensor<?x4xf32>, %dv: tensor<?x4xf32>, %tq: tensor<?x2xf32>, %tv: tensor<?x2xf32>) -> tensor<?x8xf32> {
  %qw = lora.use @q.weight : !lora.weight<4x8, f32>
  %vw = lora.use @v.weight : !lora.weight<4x8, f32>
  %qa = lora.use @q.a : tensor<2x8xf32>
  %va = lora.use @v.a : tensor<2x8xf32>
  %0 = lora.linear_backward %dq, %qw : (tensor<?x4xf32>, !lora.weight<4x8, f32>) -> tensor<?x8xf32>
  %1 = lora.matmul nn %tv, %va scale 1.0 : (tensor<?x2xf32>, tensor<2x8xf32>) -> tensor<?x8xf32>
  %2 = lora.map %0, %1 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  %3 = lora.matmul nn %tq, %qa scale 1.0 : (tensor<?x2xf32>, tensor<2x8xf32>) -> tensor<?x8xf32>
  %4 = lora.map %2, %3 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  %5 = lora.linear_backward %dv, %vw : (tensor<?x4xf32>, !lora.weight<4x8, f32>) -> tensor<?x8xf32>
  %6 = lora.map %4, %5 : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %6 : tensor<?x8xf32>
}

// The norm's gradient onto the residual stream's.
// CHECK-LABEL: lora.program window_end @norm
// CHECK-SAME: (%[[X:.*]]: tensor<?x8xf32>, %[[DY:.*]]: tensor<?x8xf32>, %[[R:.*]]: tensor<?x8xf32>
// CHECK-NEXT: lora.rms_norm_backward %[[X]], %{{.*}}, %[[DY]] onto(%[[R]]) eps
// CHECK-NEXT: lora.return
lora.program window_end @norm(%x: tensor<?x8xf32>, %dy: tensor<?x8xf32>, %r: tensor<?x8xf32>, %w: !lora.weight<8, vector>) -> tensor<?x8xf32> {
  %d = lora.rms_norm_backward %x, %w, %dy eps 1.0e-05 : (tensor<?x8xf32>, !lora.weight<8, vector>, tensor<?x8xf32>) -> tensor<?x8xf32>
  %y = lora.map %r, %d : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %y : tensor<?x8xf32>
}

// Declined: no product over a frozen weight among the terms.
// CHECK-LABEL: lora.program micro_batch @plain_sum
// CHECK: lora.map
lora.program micro_batch @plain_sum(%a: tensor<?x8xf32>, %b: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %y = lora.map %a, %b : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %y : tensor<?x8xf32>
}

// Declined: somebody else reads the base product, so it stays a value of its own.
// CHECK-LABEL: lora.program micro_batch @base_read_twice
// CHECK: %[[BASE:.*]] = lora.adapted_linear(%{{.*}}, %{{.*}}) scale 1.000000e+00
// CHECK: lora.map %{{.*}}, %[[BASE]]
lora.program micro_batch @base_read_twice(%x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %w: !lora.weight<4x8, f32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  %base = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  %y = lora.map %r, %base : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.addf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %base, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// Declined: a product, not a sum.
// CHECK-LABEL: lora.program micro_batch @not_a_sum
// CHECK: lora.adapted_linear(%{{.*}}, %{{.*}}) scale 1.000000e+00
// CHECK: arith.mulf
lora.program micro_batch @not_a_sum(%x: tensor<?x8xf32>, %r: tensor<?x4xf32>, %w: !lora.weight<4x8, f32>) -> tensor<?x4xf32> {
  %base = lora.linear %x, %w : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  %y = lora.map %r, %base : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %s = arith.mulf %p, %q : f32
    lora.yield %s : f32
  }
  lora.return %y : tensor<?x4xf32>
}
