// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute | FileCheck %s --check-prefix=FREE
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=120000 | FileCheck %s --check-prefix=TIGHT
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=1 | FileCheck %s --check-prefix=LEAST
// Three layers of SwiGLU, all three linears adapted: the gate, the linear beside it and their map are one chain, which begins at the
// norm that both read and at the small product that both have in common.

// Without a limit the map comes again, from the two linears that are kept.
// FREE: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// FREE: lora.layers 1 to 2 {{.*}}again ["norm", "swiglu"]
// FREE: lora.cross_entropy_backward
// FREE-NOT: lora.adapted_linear({{.*}} {recompute}
// FREE: lora.map {{.*}} attributes {recompute}
// FREE-NOT: lora.adapted_linear({{.*}} {recompute}
// FREE: lora.return

// Under a limit the lowest layer's linears first, as many as it takes.
// TIGHT: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// TIGHT: lora.layers -1 to {{.*}}again ["embed"]
// TIGHT: lora.layers 0 to 0 {{.*}}again ["norm", "gate_proj+up_proj's t", "gate_proj", "up_proj", "swiglu", "down_proj's t"]
// TIGHT: lora.layers 1 to 1 {{.*}}again ["norm", "gate_proj+up_proj's t", "swiglu", "down_proj's t"]
// TIGHT: lora.layers 2 to 2 {{.*}}again ["norm", "swiglu"]
// TIGHT: lora.cross_entropy_backward
// TIGHT-NOT: lora.adapted_linear({{.*}} {recompute}
// TIGHT: lora.embed {{.*}} {recompute}
// TIGHT-COUNT-2: lora.adapted_linear({{.*}} {recompute}
// TIGHT-NOT: lora.adapted_linear({{.*}} {recompute}
// TIGHT: lora.return

// LEAST: lora.recompute {{.*}} least {
// LEAST: lora.layers -1 to {{.*}}again ["embed"]
// LEAST: lora.layers 0 to 1 {{.*}}again ["norm", "gate_proj+up_proj's t", "gate_proj", "up_proj", "swiglu", "down_proj's t"]
// LEAST: lora.layers 2 to 2 {{.*}}again ["norm", "swiglu"]
// LEAST: lora.program micro_batch @train(
// LEAST: %[[WG:.*]] = lora.use @model.layers.0.gate_proj.weight
// LEAST: %[[A:.*]] = lora.use @"model.layers.0.gate_proj+up_proj.lora_A"
// LEAST: %[[WU:.*]] = lora.use @model.layers.0.up_proj.weight
// LEAST: lora.cross_entropy_backward
// LEAST: lora.embed {{.*}} {recompute}
// LEAST-NEXT: %[[H:.*]] = lora.rms_norm %{{.*}} {recompute}
// LEAST-NEXT: %[[T:.*]] = lora.matmul nt %[[H]], %[[A]] scale 1.000000e+00 {recompute}
// Names of its columns come along, and need no kernel.
// LEAST-NEXT: %[[TG:.*]] = lora.columns %[[T]] from 0
// LEAST-NEXT: %[[TU:.*]] = lora.columns %[[T]] from 2
// LEAST-NEXT: %[[G:.*]] = lora.adapted_linear(%[[H]], %[[WG]]) low_rank(%[[TG]], %{{.*}}) scale 2.000000e+00 {recompute}
// LEAST-NEXT: %[[U:.*]] = lora.adapted_linear(%[[H]], %[[WU]]) low_rank(%[[TU]], %{{.*}}) scale 2.000000e+00 {recompute}
// LEAST-NEXT: %[[S:.*]] = lora.map %[[G]], %[[U]] attributes {recompute}
// LEAST: lora.matmul tn %{{.*}}, %[[S]] scale
// The map's gradient and the factors' read the same clones.
// LEAST-NOT: lora.adapted_linear({{.*}} {recompute}
// LEAST: lora.map %[[G]], %[[U]], %{{.*}}
// LEAST: lora.matmul tn %{{.*}}, %[[TU]] scale
// LEAST: lora.matmul tn %{{.*}}, %[[TG]] scale
// LEAST: lora.matmul tn %{{.*}}, %[[H]] scale
// LEAST: lora.return

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<16x32, f32>
  lora.frozen @model.layers.0.norm.weight : !lora.weight<32, vector> layer 0
  lora.frozen @model.layers.1.norm.weight : !lora.weight<32, vector> layer 1
  lora.frozen @model.layers.2.norm.weight : !lora.weight<32, vector> layer 2
  lora.frozen @model.layers.0.gate_proj.weight : !lora.weight<64x32, f32> layer 0
  lora.frozen @model.layers.0.up_proj.weight : !lora.weight<64x32, f32> layer 0
  lora.frozen @model.layers.0.down_proj.weight : !lora.weight<32x64, f32> layer 0
  lora.frozen @model.layers.1.gate_proj.weight : !lora.weight<64x32, f32> layer 1
  lora.frozen @model.layers.1.up_proj.weight : !lora.weight<64x32, f32> layer 1
  lora.frozen @model.layers.1.down_proj.weight : !lora.weight<32x64, f32> layer 1
  lora.frozen @model.layers.2.gate_proj.weight : !lora.weight<64x32, f32> layer 2
  lora.frozen @model.layers.2.up_proj.weight : !lora.weight<64x32, f32> layer 2
  lora.frozen @model.layers.2.down_proj.weight : !lora.weight<32x64, f32> layer 2
  lora.adapter @model.layers.0.gate_proj of @model.layers.0.gate_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.0.up_proj of @model.layers.0.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.0.down_proj of @model.layers.0.down_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.1.gate_proj of @model.layers.1.gate_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.1.up_proj of @model.layers.1.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.1.down_proj of @model.layers.1.down_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.2.gate_proj of @model.layers.2.gate_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.2.up_proj of @model.layers.2.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.2.down_proj of @model.layers.2.down_proj.weight rank 2 scale 2.0 dropout 0.0

  lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x32xf32> {
    %table = lora.use @embed : !lora.weight<16x32, f32>
    %n0 = lora.use @model.layers.0.norm.weight : !lora.weight<32, vector>
    %n1 = lora.use @model.layers.1.norm.weight : !lora.weight<32, vector>
    %n2 = lora.use @model.layers.2.norm.weight : !lora.weight<32, vector>
    %x0 = lora.embed %ids, %table : (tensor<?xi32>, !lora.weight<16x32, f32>) -> tensor<?x32xf32>

    %h0 = lora.rms_norm %x0, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.0.norm")
    %w.0.gate = lora.use @model.layers.0.gate_proj.weight : !lora.weight<64x32, f32>
    %g0 = lora.linear %h0, %w.0.gate : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.0.gate_proj")
    %w.0.up = lora.use @model.layers.0.up_proj.weight : !lora.weight<64x32, f32>
    %u0 = lora.linear %h0, %w.0.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.0.up_proj")
    %s0 = lora.map %g0, %u0 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
    ^bb0(%g: f32, %u: f32):
      %one = arith.constant 1.0 : f32
      %m = arith.negf %g : f32
      %e = math.exp %m : f32
      %d = arith.addf %one, %e : f32
      %q = arith.divf %g, %d : f32
      %r = arith.mulf %q, %u : f32
      lora.yield %r : f32
    } loc("model.layers.0.swiglu")
    %w.0.down = lora.use @model.layers.0.down_proj.weight : !lora.weight<32x64, f32>
    %d0 = lora.linear %s0, %w.0.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.0.down_proj")
    %x1 = lora.map %x0, %d0 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.0.x")

    %h1 = lora.rms_norm %x1, %n1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.1.norm")
    %w.1.gate = lora.use @model.layers.1.gate_proj.weight : !lora.weight<64x32, f32>
    %g1 = lora.linear %h1, %w.1.gate : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.1.gate_proj")
    %w.1.up = lora.use @model.layers.1.up_proj.weight : !lora.weight<64x32, f32>
    %u1 = lora.linear %h1, %w.1.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.1.up_proj")
    %s1 = lora.map %g1, %u1 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
    ^bb0(%g: f32, %u: f32):
      %one = arith.constant 1.0 : f32
      %m = arith.negf %g : f32
      %e = math.exp %m : f32
      %d = arith.addf %one, %e : f32
      %q = arith.divf %g, %d : f32
      %r = arith.mulf %q, %u : f32
      lora.yield %r : f32
    } loc("model.layers.1.swiglu")
    %w.1.down = lora.use @model.layers.1.down_proj.weight : !lora.weight<32x64, f32>
    %d1 = lora.linear %s1, %w.1.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.1.down_proj")
    %x2 = lora.map %x1, %d1 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.1.x")

    %h2 = lora.rms_norm %x2, %n2 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.2.norm")
    %w.2.gate = lora.use @model.layers.2.gate_proj.weight : !lora.weight<64x32, f32>
    %g2 = lora.linear %h2, %w.2.gate : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.2.gate_proj")
    %w.2.up = lora.use @model.layers.2.up_proj.weight : !lora.weight<64x32, f32>
    %u2 = lora.linear %h2, %w.2.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.2.up_proj")
    %s2 = lora.map %g2, %u2 : (tensor<?x64xf32>, tensor<?x64xf32>) -> tensor<?x64xf32> {
    ^bb0(%g: f32, %u: f32):
      %one = arith.constant 1.0 : f32
      %m = arith.negf %g : f32
      %e = math.exp %m : f32
      %d = arith.addf %one, %e : f32
      %q = arith.divf %g, %d : f32
      %r = arith.mulf %q, %u : f32
      lora.yield %r : f32
    } loc("model.layers.2.swiglu")
    %w.2.down = lora.use @model.layers.2.down_proj.weight : !lora.weight<32x64, f32>
    %d2 = lora.linear %s2, %w.2.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.2.down_proj")
    %x3 = lora.map %x2, %d2 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.2.x")

    %h = lora.rms_norm %x3, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32>
    lora.return %h : tensor<?x32xf32>
  }
  lora.program inference @loss(%h: tensor<?x32xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
    %w = lora.use @embed : !lora.weight<16x32, f32>
    %l = lora.cross_entropy %h, %w, %labels : (tensor<?x32xf32>, !lora.weight<16x32, f32>, tensor<?xi32>) -> tensor<?xf32>
    lora.return %l : tensor<?xf32>
  }
}
