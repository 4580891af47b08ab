// RUN: lorac-opt %s --lora-plan-recompute | FileCheck %s --check-prefix=FREE
// RUN: lorac-opt %s --lora-plan-recompute=memory=1 | FileCheck %s --check-prefix=LEAST
// RUN: lorac-opt %s "--lora-plan-recompute=memory=1 device=cuda" | FileCheck %s --check-prefix=CUDA
// Two layers and the head. Without a limit norms come again; under one that cannot be met the plan is the least, and says so. What of a whole
// model comes again then, chain by chain, is seen in plan.md by tests/e2e/memory-limit.sh.

// FREE: lora.recompute {{.*}}evaluations 1 {
// LEAST: lora.recompute {{.*}} least {
// LEAST: lora.layers -1 to {{.*}} {{.*}}again ["embed"]
// CUDA: lora.recompute {{.*}} least {
module {
  lora.limits tokens 64 length 16
  lora.frequencies @rope [1.0, 0.3162, 0.1, 0.03162, 0.01, 0.003162, 0.001, 0.0003162] factor 1.0
  lora.frozen @embed : !lora.weight<64x32, f32>
  lora.frozen @model.layers.0.norm.weight : !lora.weight<32, vector> layer 0
  lora.frozen @model.layers.1.norm.weight : !lora.weight<32, vector> layer 1
  lora.frozen @w : !lora.weight<32x32, f32>
  lora.param @a0 : tensor<2x32xf32>
  lora.param @b0 : tensor<32x2xf32>
  lora.param @a1 : tensor<2x32xf32>
  lora.param @b1 : tensor<32x2xf32>

  lora.program micro_batch @train(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
    %e = lora.use @embed : !lora.weight<64x32, f32>
    %n0 = lora.use @model.layers.0.norm.weight : !lora.weight<32, vector>
    %n1 = lora.use @model.layers.1.norm.weight : !lora.weight<32, vector>
    %w = lora.use @w : !lora.weight<32x32, f32>
    %a0 = lora.use @a0 : tensor<2x32xf32>
    %b0 = lora.use @b0 : tensor<32x2xf32>
    %a1 = lora.use @a1 : tensor<2x32xf32>
    %b1 = lora.use @b1 : tensor<32x2xf32>
    %x0 = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<64x32, f32>) -> tensor<?x32xf32>

    // Layer 0: attention whose q is adapted.
    %h0 = lora.rms_norm %x0, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.0.norm")
    %t0 = lora.matmul nt %h0, %a0 scale 1.0 : (tensor<?x32xf32>, tensor<2x32xf32>) -> tensor<?x2xf32> loc("model.layers.0.q_proj")
    %p0 = lora.adapted_linear(%h0, %w) low_rank(%t0, %b0) scale 2.0
        : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x2xf32>, tensor<32x2xf32>) -> tensor<?x32xf32> loc("model.layers.0.q_proj")
    %v0 = lora.view %p0 : tensor<?x32xf32> to tensor<?x2x16xf32>
    %q0 = lora.rope %v0, %positions by @rope : (tensor<?x2x16xf32>, tensor<?xi32>) -> tensor<?x2x16xf32>
    %o0, %lse0 = lora.attention %q0, %q0, %q0, %segments scale 2.5e-01
        : (tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>) -> (tensor<?x32xf32>, tensor<?x2xf32>)
    // What layer 1 reads is kept, whatever the limit.
    %x1 = lora.adapted_linear(%o0, %w) residual(%x0) scale 1.0
        : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x32xf32>) -> tensor<?x32xf32> loc("model.layers.0.o_proj")

    // Layer 1: an adapted linear and a map.
    %h1 = lora.rms_norm %x1, %n1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.1.norm")
    %t1 = lora.matmul nt %h1, %a1 scale 1.0 : (tensor<?x32xf32>, tensor<2x32xf32>) -> tensor<?x2xf32> loc("model.layers.1.up_proj")
    %y1 = lora.adapted_linear(%h1, %w) low_rank(%t1, %b1) scale 2.0
        : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x2xf32>, tensor<32x2xf32>) -> tensor<?x32xf32> loc("model.layers.1.up_proj")
    %loss, %dy1 = lora.cross_entropy_backward %y1, %e, %labels
        : (tensor<?x32xf32>, !lora.weight<64x32, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x32xf32>)

    %dt1 = lora.matmul nn %dy1, %b1 scale 2.0 : (tensor<?x32xf32>, tensor<32x2xf32>) -> tensor<?x2xf32>
    %db1 = lora.matmul tn %dy1, %t1 scale 2.0 : (tensor<?x32xf32>, tensor<?x2xf32>) -> tensor<32x2xf32>
    lora.gradient @b1, %db1 : tensor<32x2xf32>
    %da1 = lora.matmul tn %dt1, %h1 scale 1.0 : (tensor<?x2xf32>, tensor<?x32xf32>) -> tensor<2x32xf32>
    lora.gradient @a1, %da1 : tensor<2x32xf32>
    %dh1 = lora.adapted_linear_backward(%dy1, %w) low_rank(%dt1, %a1)
        : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x2xf32>, tensor<2x32xf32>) -> tensor<?x32xf32>
    %dx1 = lora.rms_norm_backward %x1, %n0, %dh1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>, tensor<?x32xf32>) -> tensor<?x32xf32>
    %do0 = lora.adapted_linear_backward(%dx1, %w) : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32>
    // The chain in the order of the forward pass: x, its norm, the small product, the linear with its update, the rope, attention.
    // On a GPU as well, where a value has half of the bytes.
    // FREE: lora.cross_entropy_backward
    // FREE-NOT: lora.attention {{.*}} {recompute}
    %dq, %dk, %dv = lora.attention_backward %q0, %q0, %q0, %segments, %o0, %lse0, %do0 scale 2.5e-01
        : (tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?xi32>, tensor<?x32xf32>, tensor<?x2xf32>, tensor<?x32xf32>)
        -> (tensor<?x2x16xf32>, tensor<?x2x16xf32>, tensor<?x2x16xf32>)
    %dr = lora.rope %dq, %positions by @rope inverse : (tensor<?x2x16xf32>, tensor<?xi32>) -> tensor<?x2x16xf32>
    %dp = lora.view %dr : tensor<?x2x16xf32> to tensor<?x32xf32>
    %dt0 = lora.matmul nn %dp, %b0 scale 2.0 : (tensor<?x32xf32>, tensor<32x2xf32>) -> tensor<?x2xf32>
    %db0 = lora.matmul tn %dp, %t0 scale 2.0 : (tensor<?x32xf32>, tensor<?x2xf32>) -> tensor<32x2xf32>
    lora.gradient @b0, %db0 : tensor<32x2xf32>
    %da0 = lora.matmul tn %dt0, %h0 scale 1.0 : (tensor<?x2xf32>, tensor<?x32xf32>) -> tensor<2x32xf32>
    lora.gradient @a0, %da0 : tensor<2x32xf32>
    lora.return %loss : tensor<?xf32>
  }
}
