// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute | FileCheck %s --check-prefix=FREE
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=100000 | FileCheck %s --check-prefix=TIGHT
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=1 | FileCheck %s --check-prefix=LEAST
// Four layers of two adapted linears, each tied to a residual: an adapted linear with its sum is one op, which comes again as a whole
// from the layer's input. The input itself never does, but for the embedding, which reads no layer.

// FREE: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// FREE: lora.layers 1 to 3 {{.*}}again ["norm", "norm2"]
// FREE: lora.cross_entropy_backward
// FREE-NOT: lora.adapted_linear({{.*}} {recompute}
// FREE: lora.return

// Small products are cheaper than a linear with its sum.
// TIGHT: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// TIGHT: lora.layers -1 to {{.*}}again []
// TIGHT: lora.layers 1 to 2 {{.*}}again ["norm", "o_proj's t", "norm2", "up_proj's t"]
// TIGHT: lora.layers 3 to 3 {{.*}}again ["norm", "o_proj's t", "norm2"]
// TIGHT: lora.cross_entropy_backward
// TIGHT-NOT: lora.adapted_linear({{.*}} {recompute}
// TIGHT: lora.return

// LEAST: lora.recompute {{.*}} least {
// LEAST: lora.layers -1 to {{.*}}again ["embed"]
// LEAST: lora.layers 0 to 2 {{.*}}again ["norm", "o_proj's t", "o_proj", "norm2", "up_proj's t"]
// LEAST: lora.layers 3 to 3 {{.*}}again ["norm", "norm2"]
// LEAST: lora.program micro_batch @train(%[[IDS:[a-z0-9]+]]
// The layer's input: the second linear's sum, whose residual is the first one's.
// LEAST: %[[M0:.*]] = lora.adapted_linear({{.*}}) residual(
// LEAST: %[[X1:.*]] = lora.adapted_linear({{.*}}) residual(%[[M0]])
// LEAST: %[[W:.*]] = lora.use @model.layers.1.o_proj.weight
// LEAST: %[[A:.*]] = lora.use @model.layers.1.o_proj.lora_A.weight
// LEAST: %[[B:.*]] = lora.use @model.layers.1.o_proj.lora_B.weight
// LEAST: lora.cross_entropy_backward
// LEAST: %[[H:.*]] = lora.rms_norm %[[X1]], %{{.*}} {recompute}
// LEAST-NEXT: %[[T:.*]] = lora.matmul nt %[[H]], %[[A]] scale 1.000000e+00 {recompute}
// LEAST-NEXT: %[[M:.*]] = lora.adapted_linear(%[[H]], %[[W]]) low_rank(%[[T]], %[[B]]) residual(%[[X1]]) scale 2.000000e+00 {recompute}
// LEAST-NEXT: %[[K:.*]] = lora.rms_norm %[[M]], %{{.*}} {recompute}
// LEAST-NEXT: lora.matmul tn %{{.*}}, %[[K]] scale
// LEAST: lora.rms_norm_backward %[[M]],
// LEAST: lora.matmul tn %{{.*}}, %[[H]] scale
// LEAST-NEXT: lora.matmul tn %{{.*}}, %[[T]] scale
// LEAST: lora.rms_norm_backward %[[X1]],
// LEAST: %[[X0:.*]] = lora.embed %[[IDS]], %{{.*}} {recompute}
// LEAST: lora.adapted_linear({{.*}}) residual(%[[X0]]) scale 2.000000e+00 {recompute}
// LEAST-NOT: lora.adapted_linear({{.*}} {recompute}
// LEAST: lora.return

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<16x32, f32>
  lora.frozen @model.layers.0.norm.weight : !lora.weight<32, vector> layer 0
  lora.frozen @model.layers.1.norm.weight : !lora.weight<32, vector> layer 1
  lora.frozen @model.layers.2.norm.weight : !lora.weight<32, vector> layer 2
  lora.frozen @model.layers.3.norm.weight : !lora.weight<32, vector> layer 3
  lora.frozen @model.layers.0.o_proj.weight : !lora.weight<32x32, f32> layer 0
  lora.frozen @model.layers.0.up_proj.weight : !lora.weight<32x32, f32> layer 0
  lora.frozen @model.layers.1.o_proj.weight : !lora.weight<32x32, f32> layer 1
  lora.frozen @model.layers.1.up_proj.weight : !lora.weight<32x32, f32> layer 1
  lora.frozen @model.layers.2.o_proj.weight : !lora.weight<32x32, f32> layer 2
  lora.frozen @model.layers.2.up_proj.weight : !lora.weight<32x32, f32> layer 2
  lora.frozen @model.layers.3.o_proj.weight : !lora.weight<32x32, f32> layer 3
  lora.frozen @model.layers.3.up_proj.weight : !lora.weight<32x32, f32> layer 3
  lora.adapter @model.layers.0.o_proj of @model.layers.0.o_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.0.up_proj of @model.layers.0.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.1.o_proj of @model.layers.1.o_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.1.up_proj of @model.layers.1.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.2.o_proj of @model.layers.2.o_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.2.up_proj of @model.layers.2.up_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.3.o_proj of @model.layers.3.o_proj.weight rank 2 scale 2.0 dropout 0.0
  lora.adapter @model.layers.3.up_proj of @model.layers.3.up_proj.weight rank 2 scale 2.0 dropout 0.0

  lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x32xf32> {
    %table = lora.use @embed : !lora.weight<16x32, f32>
    %n0 = lora.use @model.layers.0.norm.weight : !lora.weight<32, vector>
    %n1 = lora.use @model.layers.1.norm.weight : !lora.weight<32, vector>
    %n2 = lora.use @model.layers.2.norm.weight : !lora.weight<32, vector>
    %n3 = lora.use @model.layers.3.norm.weight : !lora.weight<32, vector>
    %x0 = lora.embed %ids, %table : (tensor<?xi32>, !lora.weight<16x32, f32>) -> tensor<?x32xf32>

    %h0 = lora.rms_norm %x0, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.0.norm")
    %w.0.o = lora.use @model.layers.0.o_proj.weight : !lora.weight<32x32, f32>
    %o0 = lora.linear %h0, %w.0.o : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.0.o_proj")
    %m0 = lora.map %x0, %o0 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.0.middle")
    %k0 = lora.rms_norm %m0, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.0.norm2")
    %w.0.up = lora.use @model.layers.0.up_proj.weight : !lora.weight<32x32, f32>
    %d0 = lora.linear %k0, %w.0.up : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.0.up_proj")
    %x1 = lora.map %m0, %d0 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.0.x")

    %h1 = lora.rms_norm %x1, %n1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.1.norm")
    %w.1.o = lora.use @model.layers.1.o_proj.weight : !lora.weight<32x32, f32>
    %o1 = lora.linear %h1, %w.1.o : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.1.o_proj")
    %m1 = lora.map %x1, %o1 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.1.middle")
    %k1 = lora.rms_norm %m1, %n1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.1.norm2")
    %w.1.up = lora.use @model.layers.1.up_proj.weight : !lora.weight<32x32, f32>
    %d1 = lora.linear %k1, %w.1.up : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.1.up_proj")
    %x2 = lora.map %m1, %d1 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.1.x")

    %h2 = lora.rms_norm %x2, %n2 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.2.norm")
    %w.2.o = lora.use @model.layers.2.o_proj.weight : !lora.weight<32x32, f32>
    %o2 = lora.linear %h2, %w.2.o : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.2.o_proj")
    %m2 = lora.map %x2, %o2 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.2.middle")
    %k2 = lora.rms_norm %m2, %n2 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.2.norm2")
    %w.2.up = lora.use @model.layers.2.up_proj.weight : !lora.weight<32x32, f32>
    %d2 = lora.linear %k2, %w.2.up : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.2.up_proj")
    %x3 = lora.map %m2, %d2 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.2.x")

    %h3 = lora.rms_norm %x3, %n3 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.3.norm")
    %w.3.o = lora.use @model.layers.3.o_proj.weight : !lora.weight<32x32, f32>
    %o3 = lora.linear %h3, %w.3.o : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.3.o_proj")
    %m3 = lora.map %x3, %o3 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.3.middle")
    %k3 = lora.rms_norm %m3, %n3 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.3.norm2")
    %w.3.up = lora.use @model.layers.3.up_proj.weight : !lora.weight<32x32, f32>
    %d3 = lora.linear %k3, %w.3.up : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32> loc("model.layers.3.up_proj")
    %x4 = lora.map %m3, %d3 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.3.x")

    %h = lora.rms_norm %x4, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32>
    lora.return %h : tensor<?x32xf32>
  }
  lora.program inference @loss(%h: tensor<?x32xf32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
    %w = lora.use @embed : !lora.weight<16x32, f32>
    %l = lora.cross_entropy %h, %w, %labels : (tensor<?x32xf32>, !lora.weight<16x32, f32>, tensor<?xi32>) -> tensor<?xf32>
    lora.return %l : tensor<?xf32>
  }
}
