// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute | FileCheck %s --check-prefix=FREE
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=100000 | FileCheck %s --check-prefix=TIGHT
// RUN: lorac-opt %s --lora-attach-adapters --lora-fuse-elementwise --lora-differentiate --canonicalize --cse --lora-order-products --lora-fuse-kernels \
// RUN:   --lora-plan-recompute=memory=1 | FileCheck %s --check-prefix=LEAST
// Three layers of two adapted linears with dropout. A mask is no memory: it comes again from the same stream, in the chain of what it
// hides and in front of whoever reads it.

// Without a limit: masks and norms, where less is kept then. In layer 0 the embedding would have to be kept instead.
// FREE: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// FREE: lora.layers 0 to 0 {{.*}}again []
// FREE: lora.layers 1 to 2 {{.*}}again ["norm", "up_proj"]
// FREE: lora.cross_entropy_backward
// FREE-NOT: {recompute}
// FREE: lora.rms_norm {{.*}} {recompute}
// FREE-NEXT: lora.dropout %{{.*}} p 1.000000e-01 stream 4 {recompute}
// FREE-NOT: lora.matmul nt {{.*}} {recompute}
// FREE-NOT: lora.adapted_linear({{.*}} {recompute}
// FREE: lora.dropout %{{.*}} p 1.000000e-01 stream 2 {recompute}
// FREE-NOT: {recompute}
// FREE: lora.return

// Under a limit small products follow, and the embedding; the linears are kept, and so is what down_proj's masks left.
// TIGHT: lora.recompute {{.*}} evaluations {{[0-9]+}} {
// TIGHT: lora.layers -1 to {{.*}}again ["embed"]
// TIGHT: lora.layers 0 to 2 {{.*}}again ["norm", "up_proj", "up_proj's t", "down_proj's t"]
// TIGHT: lora.cross_entropy_backward
// TIGHT-NOT: lora.adapted_linear({{.*}} {recompute}
// TIGHT: lora.return

// The least: in the lower layers the whole chain, once each, in the order of the forward pass. The last layer, whose chain would live
// at the peak anyway, keeps its own.
// LEAST: lora.recompute {{.*}} least {
// LEAST: lora.layers -1 to {{.*}}again ["embed"]
// LEAST: lora.layers 0 to 1 {{.*}}again ["norm", "up_proj", "up_proj's t", "down_proj", "down_proj's t"]
// LEAST: lora.layers 2 to 2 {{.*}}again ["norm", "up_proj"]
// LEAST: lora.program micro_batch @train(%[[IDS:[a-z0-9]+]]
// LEAST: %[[X1:.*]] = lora.adapted_linear({{.*}}) low_rank({{.*}}) residual(
// LEAST: %[[N1:.*]] = lora.rms_norm %[[X1]],
// LEAST: %[[W1:.*]] = lora.use @model.layers.1.up_proj.weight
// LEAST: lora.dropout %[[N1]] p 1.000000e-01 stream 2
// LEAST: %[[A1:.*]] = lora.use @model.layers.1.up_proj.lora_A.weight
// LEAST: %[[B1:.*]] = lora.use @model.layers.1.up_proj.lora_B.weight
// LEAST: lora.cross_entropy_backward
// LEAST-NOT: lora.adapted_linear({{.*}} {recompute}
// LEAST: lora.dropout %{{.*}} p 1.000000e-01 stream 4 {recompute}
// LEAST: %[[H:.*]] = lora.rms_norm %[[X1]], %{{.*}} {recompute}
// LEAST-NEXT: %[[D:.*]] = lora.dropout %[[H]] p 1.000000e-01 stream 2 {recompute}
// LEAST-NEXT: %[[T:.*]] = lora.matmul nt %[[D]], %[[A1]] scale 1.000000e+00 {recompute}
// LEAST-NEXT: %[[U:.*]] = lora.adapted_linear(%[[H]], %[[W1]]) low_rank(%[[T]], %[[B1]]) scale 2.000000e+00 {recompute}
// LEAST-NEXT: %[[M:.*]] = lora.dropout %[[U]] p 1.000000e-01 stream 3 {recompute}
// LEAST-NEXT: lora.matmul tn %{{.*}}, %[[M]]
// LEAST-NEXT: lora.matmul nt %[[M]], %{{.*}} {recompute}
// What came again is there once: its other readers take the same.
// LEAST-NOT: {recompute}
// LEAST: lora.matmul tn %{{.*}}, %[[D]] scale
// LEAST-NEXT: lora.matmul tn %{{.*}}, %[[T]] scale
// LEAST: %[[X0:.*]] = lora.embed %[[IDS]], %{{.*}} {recompute}
// LEAST-NEXT: lora.rms_norm %[[X0]], %{{.*}} {recompute}
// LEAST-NEXT: lora.dropout %{{.*}} stream 0 {recompute}
// LEAST-NEXT: lora.matmul nt {{.*}} {recompute}
// LEAST-NEXT: lora.adapted_linear({{.*}} {recompute}
// LEAST-NEXT: lora.dropout %{{.*}} stream 1 {recompute}
// LEAST: lora.return

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<16x32, f32>
  lora.frozen @model.layers.0.norm.weight : !lora.weight<32, vector> layer 0
  lora.frozen @model.layers.1.norm.weight : !lora.weight<32, vector> layer 1
  lora.frozen @model.layers.2.norm.weight : !lora.weight<32, vector> layer 2
  lora.frozen @model.layers.0.up_proj.weight : !lora.weight<64x32, f32> layer 0
  lora.frozen @model.layers.0.down_proj.weight : !lora.weight<32x64, f32> layer 0
  lora.frozen @model.layers.1.up_proj.weight : !lora.weight<64x32, f32> layer 1
  lora.frozen @model.layers.1.down_proj.weight : !lora.weight<32x64, f32> layer 1
  lora.frozen @model.layers.2.up_proj.weight : !lora.weight<64x32, f32> layer 2
  lora.frozen @model.layers.2.down_proj.weight : !lora.weight<32x64, f32> layer 2
  lora.adapter @model.layers.0.up_proj of @model.layers.0.up_proj.weight rank 2 scale 2.0 dropout 1.0e-01
  lora.adapter @model.layers.0.down_proj of @model.layers.0.down_proj.weight rank 2 scale 2.0 dropout 1.0e-01
  lora.adapter @model.layers.1.up_proj of @model.layers.1.up_proj.weight rank 2 scale 2.0 dropout 1.0e-01
  lora.adapter @model.layers.1.down_proj of @model.layers.1.down_proj.weight rank 2 scale 2.0 dropout 1.0e-01
  lora.adapter @model.layers.2.up_proj of @model.layers.2.up_proj.weight rank 2 scale 2.0 dropout 1.0e-01
  lora.adapter @model.layers.2.down_proj of @model.layers.2.down_proj.weight rank 2 scale 2.0 dropout 1.0e-01

  lora.program inference @hidden(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>) -> tensor<?x32xf32> {
    %table = lora.use @embed : !lora.weight<16x32, f32>
    %n0 = lora.use @model.layers.0.norm.weight : !lora.weight<32, vector>
    %n1 = lora.use @model.layers.1.norm.weight : !lora.weight<32, vector>
    %n2 = lora.use @model.layers.2.norm.weight : !lora.weight<32, vector>
    %x0 = lora.embed %ids, %table : (tensor<?xi32>, !lora.weight<16x32, f32>) -> tensor<?x32xf32>

    %h0 = lora.rms_norm %x0, %n0 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.0.norm")
    %w.0.up = lora.use @model.layers.0.up_proj.weight : !lora.weight<64x32, f32>
    %u0 = lora.linear %h0, %w.0.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.0.up_proj")
    %w.0.down = lora.use @model.layers.0.down_proj.weight : !lora.weight<32x64, f32>
    %d0 = lora.linear %u0, %w.0.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.0.down_proj")
    %x1 = lora.map %x0, %d0 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.0.x")

    %h1 = lora.rms_norm %x1, %n1 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.1.norm")
    %w.1.up = lora.use @model.layers.1.up_proj.weight : !lora.weight<64x32, f32>
    %u1 = lora.linear %h1, %w.1.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.1.up_proj")
    %w.1.down = lora.use @model.layers.1.down_proj.weight : !lora.weight<32x64, f32>
    %d1 = lora.linear %u1, %w.1.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.1.down_proj")
    %x2 = lora.map %x1, %d1 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      lora.yield %s : f32
    } loc("model.layers.1.x")

    %h2 = lora.rms_norm %x2, %n2 eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32> loc("model.layers.2.norm")
    %w.2.up = lora.use @model.layers.2.up_proj.weight : !lora.weight<64x32, f32>
    %u2 = lora.linear %h2, %w.2.up : (tensor<?x32xf32>, !lora.weight<64x32, f32>) -> tensor<?x64xf32> loc("model.layers.2.up_proj")
    %w.2.down = lora.use @model.layers.2.down_proj.weight : !lora.weight<32x64, f32>
    %d2 = lora.linear %u2, %w.2.down : (tensor<?x64xf32>, !lora.weight<32x64, f32>) -> tensor<?x32xf32> loc("model.layers.2.down_proj")
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
