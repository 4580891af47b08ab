// RUN: lorac-opt %s --lora-plan-recompute | FileCheck %s
// A value of 64 tokens x 32 floats is 8192 bytes. Across the border, the loss, x and y wait for the backward pass.

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<16x32, f32>
  lora.frozen @norm : !lora.weight<32, vector>
  lora.frozen @w : !lora.weight<32x32, f32>
  lora.param @a : tensor<2x32xf32>
  lora.param @b : tensor<32x2xf32>

  // CHECK-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train(%ids: tensor<?xi32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
    %e = lora.use @embed : !lora.weight<16x32, f32>
    %n = lora.use @norm : !lora.weight<32, vector>
    %w = lora.use @w : !lora.weight<32x32, f32>
    %a = lora.use @a : tensor<2x32xf32>
    // CHECK: %[[X:.*]] = lora.embed
    // CHECK: %[[H:.*]] = lora.rms_norm %[[X]]
    // CHECK: %[[Y:.*]] = lora.linear %[[H]]
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x32, f32>) -> tensor<?x32xf32>
    %h = lora.rms_norm %x, %n eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32>
    %y = lora.linear %h, %w : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32>
    // CHECK: lora.cross_entropy_backward
    %loss, %dy = lora.cross_entropy_backward %y, %e, %labels
        : (tensor<?x32xf32>, !lora.weight<16x32, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x32xf32>)
    %b = lora.use @b : tensor<32x2xf32>
    // y waits: to have it again costs a product.
    // CHECK: %[[D:.*]] = lora.map %[[Y]], %{{.*}}
    %d = lora.map %y, %dy : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<?x32xf32> {
    ^bb0(%p: f32, %q: f32):
      %s = arith.mulf %p, %q : f32
      lora.yield %s : f32
    }
    // CHECK: %[[DT:.*]] = lora.matmul nn %[[D]]
    %dt = lora.matmul nn %d, %b scale 1.0 : (tensor<?x32xf32>, tensor<32x2xf32>) -> tensor<?x2xf32>
    // h does not: x is kept anyway, so the norm comes again right in front of its use.
    // CHECK: %[[AGAIN:.*]] = lora.rms_norm %[[X]], %{{.*}} eps 1.000000e-05 {recompute}
    // CHECK-NEXT: lora.matmul tn %[[DT]], %[[AGAIN]]
    %da = lora.matmul tn %dt, %h scale 1.0 : (tensor<?x2xf32>, tensor<?x32xf32>) -> tensor<2x32xf32>
    lora.gradient @a, %da : tensor<2x32xf32>
    // CHECK: %[[DX:.*]] = lora.rms_norm_backward %[[X]]
    %dx = lora.rms_norm_backward %x, %n, %d eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>, tensor<?x32xf32>) -> tensor<?x32xf32>
    %db = lora.matmul tn %dx, %dt scale 1.0 : (tensor<?x32xf32>, tensor<?x2xf32>) -> tensor<32x2xf32>
    lora.gradient @b, %db : tensor<32x2xf32>
    lora.return %loss : tensor<?xf32>
  }

  // Declined: only the training step has a backward pass.
  // CHECK-LABEL: lora.program inference @hidden
  // CHECK-NOT: recompute
  lora.program inference @hidden(%ids: tensor<?xi32>) -> tensor<?x32xf32> {
    %e = lora.use @embed : !lora.weight<16x32, f32>
    %n = lora.use @norm : !lora.weight<32, vector>
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<16x32, f32>) -> tensor<?x32xf32>
    %h = lora.rms_norm %x, %n eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32>
    lora.return %h : tensor<?x32xf32>
  }
}
