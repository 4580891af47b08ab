// RUN: lorac-opt %s --lora-fuse-epilogues | FileCheck %s
// A product and what reads it become one kernel.

// SwiGLU stands behind the later of its two products, which the backward pass reads as well.
// CHECK-LABEL: lora.program micro_batch @swiglu
lora.program micro_batch @swiglu(%x: tensor<?x8xf32>, %wg: !lora.weight<4x8, f32>, %wu: !lora.weight<4x8, f32>) -> (tensor<?x4xf32>, tensor<?x4xf32>) {
  // CHECK-NEXT: %[[GATE:.*]] = lora.adapted_linear
  %gate = lora.adapted_linear(%x, %wg) scale 1.0 : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  // CHECK-NEXT: %[[BOTH:.*]]:2 = lora.fused : tensor<?x4xf32>, tensor<?x4xf32> {
  // CHECK-NEXT: %[[UP:.*]] = lora.adapted_linear
  // CHECK-NEXT: %[[ACT:.*]] = lora.map %[[GATE]], %[[UP]]
  // CHECK: lora.yield %[[ACT]], %[[UP]] : tensor<?x4xf32>, tensor<?x4xf32>
  // CHECK: lora.return %[[BOTH]]#0, %[[BOTH]]#1
  %up = lora.adapted_linear(%x, %wu) scale 1.0 : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  %act = lora.map %gate, %up : (tensor<?x4xf32>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^bb0(%g: f32, %u: f32):
    %m = arith.mulf %g, %u : f32
    lora.yield %m : f32
  }
  lora.return %act, %up : tensor<?x4xf32>, tensor<?x4xf32>
}

// Its gradients stand behind dX, which nobody else reads.
// CHECK-LABEL: lora.program micro_batch @backward
// CHECK: %[[D:.*]]:2 = lora.fused
// CHECK-NEXT: %[[DX:.*]] = lora.adapted_linear_backward
// CHECK-NEXT: %[[M:.*]]:2 = lora.map %{{.*}}, %[[DX]]
// CHECK: lora.yield %[[M]]#0, %[[M]]#1
// CHECK: lora.return %[[D]]#0, %[[D]]#1
lora.program micro_batch @backward(%dy: tensor<?x4xf32>, %w: !lora.weight<4x8, f32>, %gate: tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  %dx = lora.adapted_linear_backward(%dy, %w) : (tensor<?x4xf32>, !lora.weight<4x8, f32>) -> tensor<?x8xf32>
  %0:2 = lora.map %gate, %dx : (tensor<?x8xf32>, tensor<?x8xf32>) -> (tensor<?x8xf32>, tensor<?x8xf32>) {
  ^bb0(%g: f32, %d: f32):
    %m = arith.mulf %g, %d : f32
    lora.yield %m, %d : f32, f32
  }
  lora.return %0#0, %0#1 : tensor<?x8xf32>, tensor<?x8xf32>
}

lora.frequencies @frequencies [1.0, 0.01] factor 1.0

// CHECK-LABEL: lora.program micro_batch @rope
// CHECK-NEXT: %[[R:.*]] = lora.fused : tensor<?x2x4xf32> {
// CHECK-NEXT: lora.adapted_linear
// CHECK-NEXT: lora.view
// CHECK-NEXT: lora.rope
// CHECK-NEXT: lora.yield
// CHECK-NEXT: }
// CHECK-NEXT: lora.return %[[R]]
lora.program micro_batch @rope(%x: tensor<?x8xf32>, %w: !lora.weight<8x8, f32>, %positions: tensor<?xi32>) -> tensor<?x2x4xf32> {
  %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  %v = lora.view %y : tensor<?x8xf32> to tensor<?x2x4xf32>
  %r = lora.rope %v, %positions by @frequencies : (tensor<?x2x4xf32>, tensor<?xi32>) -> tensor<?x2x4xf32>
  lora.return %r : tensor<?x2x4xf32>
}

// Declined: another input comes later.
// CHECK-LABEL: lora.program micro_batch @too_early
// CHECK-NOT: lora.fused
lora.program micro_batch @too_early(%x: tensor<?x8xf32>, %w: !lora.weight<8x8, f32>, %n: !lora.weight<8, vector>) -> tensor<?x8xf32> {
  %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  %h = lora.rms_norm %x, %n eps 1.0e-05 : (tensor<?x8xf32>, !lora.weight<8, vector>) -> tensor<?x8xf32>
  %z = lora.map %y, %h : (tensor<?x8xf32>, tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: f32, %b: f32):
    %m = arith.mulf %a, %b : f32
    lora.yield %m : f32
  }
  lora.return %z : tensor<?x8xf32>
}

// Declined: what is recomputed has its place in the backward pass.
// CHECK-LABEL: lora.program micro_batch @recomputed
// CHECK-NOT: lora.fused
lora.program micro_batch @recomputed(%x: tensor<?x8xf32>, %w: !lora.weight<8x8, f32>) -> tensor<?x8xf32> {
  %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<8x8, f32>) -> tensor<?x8xf32>
  %z = lora.map %y attributes {recompute} : (tensor<?x8xf32>) -> tensor<?x8xf32> {
  ^bb0(%a: f32):
    %m = arith.negf %a : f32
    lora.yield %m : f32
  }
  lora.return %z : tensor<?x8xf32>
}

// A map that reads a row for all tokens stays a kernel of its own.
// CHECK-LABEL: lora.program micro_batch @row
// CHECK-NOT: lora.fused
// CHECK: lora.map
lora.program micro_batch @row(%x: tensor<?x8xf32>, %w: !lora.weight<4x8, f32>, %m: tensor<4xf32>) -> tensor<?x4xf32> {
  %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x8xf32>, !lora.weight<4x8, f32>) -> tensor<?x4xf32>
  %z = lora.map %y, %m : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32> {
  ^bb0(%p: f32, %q: f32):
    %r = arith.mulf %p, %q : f32
    lora.yield %r : f32
  }
  lora.return %z : tensor<?x4xf32>
}
