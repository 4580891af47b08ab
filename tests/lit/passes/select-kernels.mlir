// RUN: lorac-opt %s --lora-select-kernels=head-rows=48 | FileCheck %s
// A step of one adapted linear and one plain linear; the loss over two chunks of rows (48 and 16 of 64).

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<100x32, f32>
  lora.frozen @norm : !lora.weight<32, vector>
  lora.frozen @w : !lora.weight<32x32, nf4<64>>
  lora.frozen @w2 : !lora.weight<32x32, nf4<64>>
  lora.adapter @q of @w rank 2 scale 1.0
  lora.param @a lora_A of @q : tensor<2x32xf32>
  lora.param @b lora_B of @q : tensor<32x2xf32>
  // Ranks are no params of a kernel: they come with the launch.
  // CHECK: lora.kernel @matmul_nt_rx32 {{.*}} k = 32 : i64, lda = 32 : i64, ldb = 32 : i64, scalars = ["j", "ldc"]
  // One kernel a distinct (family, params); w2's forward and dX share the format, so their rank 0 kernels stand once each.
  // CHECK: lora.kernel @linear_forward_nf4_32x32_low_rank_residual family "linear_forward" {{.*}} {format = "nf4<64>", k = 32 : i64, ldr = 32 : i64, ldx = 32 : i64, ldy = 32 : i64, most_rank = 256 : i64, n = 32 : i64, residual = true, scalars = ["rank", "ldt"], scale = 2.000000e+00 : f64}
  // CHECK: lora.kernel @linear_forward_f32_100x32 family "linear_forward" {{.*}} ldy = 112 : i64
  // CHECK-NOT: lora.kernel @linear_forward_f32_100x32
  // CHECK-LABEL: lora.program micro_batch @train() {
  // CHECK-DAG: %[[GA:.*]] = lora.buffer grad "a" at -1 : memref<2x32xf32>
  // CHECK-DAG: %[[GB:.*]] = lora.buffer grad "b" at -1 : memref<32x2xf32>
  // CHECK-DAG: %[[PB:.*]] = lora.buffer param "b" at -1 : memref<32x2xf32>
  // CHECK-DAG: %[[LOSS:.*]] = lora.buffer io "row_loss" at -1 : memref<64xf32>
  // CHECK-DAG: %[[LABELS:.*]] = lora.buffer io "labels" at -1 : memref<64xi32>
  // CHECK-DAG: %[[IDS:.*]] = lora.buffer io "ids" at -1 : memref<64xi32>
  lora.program micro_batch @train(%ids: tensor<?xi32>, %positions: tensor<?xi32>, %segments: tensor<?xi32>, %labels: tensor<?xi32>) -> tensor<?xf32> {
    %e = lora.use @embed : !lora.weight<100x32, f32>
    %n = lora.use @norm : !lora.weight<32, vector>
    %w = lora.use @w : !lora.weight<32x32, nf4<64>>
    %w2 = lora.use @w2 : !lora.weight<32x32, nf4<64>>
    %a = lora.use @a : tensor<2x32xf32>
    %b = lora.use @b : tensor<32x2xf32>
    // CHECK: %[[X:.*]] = lora.buffer local {{.*}} : memref<64x32xf32>
    // CHECK-NEXT: lora.launch @embed_f32_100x32(%[[IDS]], %{{.*}}, %[[X]]) rows{{ ?}}[0, 64]
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x32, f32>) -> tensor<?x32xf32>
    // CHECK: %[[H:.*]] = lora.buffer local
    // CHECK-NEXT: lora.launch @rms_norm_forward_32(%[[X]], %{{.*}}, %[[H]])
    %h = lora.rms_norm %x, %n eps 1.0e-05 : (tensor<?x32xf32>, !lora.weight<32, vector>) -> tensor<?x32xf32>
    // Two columns, padded to 16.
    // CHECK: %[[T:.*]] = lora.buffer local {{.*}} : memref<64x16xf32>
    // CHECK-NEXT: lora.launch @matmul_nt_rx32(%[[H]], %{{.*}}, %[[T]]) rows[0, 64] scalars [2, 16]
    %t = lora.matmul nt %h, %a scale 1.0 : (tensor<?x32xf32>, tensor<2x32xf32>) -> tensor<?x2xf32>
    // The residual dies here: y takes over its buffer.
    // CHECK-NEXT: lora.launch @linear_forward_nf4_32x32_low_rank_residual(%[[H]], %{{.*}}, %[[T]], %[[PB]], %[[X]], %[[X]])
    %y = lora.adapted_linear(%h, %w) low_rank(%t, %b) residual(%x) scale 2.0
      : (tensor<?x32xf32>, !lora.weight<32x32, nf4<64>>, tensor<?x2xf32>, tensor<32x2xf32>, tensor<?x32xf32>) -> tensor<?x32xf32>
    // CHECK: lora.launch @linear_forward_nf4_32x32(%[[X]], %{{.*}}, %[[Z:.*]]) rows
    %z = lora.adapted_linear(%y, %w2) scale 1.0 : (tensor<?x32xf32>, !lora.weight<32x32, nf4<64>>) -> tensor<?x32xf32>
    // Logits of one chunk at a time: head, loss, dX, then the next chunk in the same buffer.
    // CHECK: %[[LOGITS:.*]] = lora.buffer local "logits of a chunk" at -1 : memref<48x112xf32>
    // CHECK: lora.launch @linear_forward_f32_100x32(%{{.*}}, %{{.*}}, %[[LOGITS]]) rows{{ ?}}[0, 48]
    // CHECK: lora.launch @cross_entropy_100_backward(%[[LOGITS]], %{{.*}}, %{{.*}}) rows{{ ?}}[0, 48]
    // CHECK: lora.launch @linear_backward_f32_100x32(%[[LOGITS]], %{{.*}}, %{{.*}}) rows{{ ?}}[0, 48]
    // CHECK: %[[HIGH:.*]] = lora.slice %[[Z]] by 6144 : memref<64x32xf32> to memref<16x32xf32>
    // CHECK-NEXT: lora.launch @linear_forward_f32_100x32(%[[HIGH]], %{{.*}}, %[[LOGITS]]) rows{{ ?}}[48, 16]
    // CHECK: lora.slice %[[LABELS]] by 192
    // CHECK: lora.slice %[[LOSS]] by 192
    // CHECK: lora.launch @cross_entropy_100_backward(%[[LOGITS]], %{{.*}}, %{{.*}}) rows{{ ?}}[48, 16]
    // CHECK: lora.launch @linear_backward_f32_100x32(%[[LOGITS]], %{{.*}}, %{{.*}}) rows{{ ?}}[48, 16]
    %loss, %dz = lora.cross_entropy_backward %z, %e, %labels
        : (tensor<?x32xf32>, !lora.weight<100x32, f32>, tensor<?xi32>) -> (tensor<?xf32>, tensor<?x32xf32>)
    // CHECK: lora.launch @linear_backward_nf4_32x32(%{{.*}}, %{{.*}}, %[[DY:.*]]) rows
    %dy = lora.adapted_linear_backward(%dz, %w2) : (tensor<?x32xf32>, !lora.weight<32x32, nf4<64>>) -> tensor<?x32xf32>
    // CHECK: lora.launch @matmul_nn_rx32(%[[DY]], %[[PB]], %[[DT:.*]]) rows
    %dt = lora.matmul nn %dy, %b scale 2.0 : (tensor<?x32xf32>, tensor<32x2xf32>) -> tensor<?x2xf32>
    // Gradients are added where they live.
    // CHECK-NEXT: lora.launch @matmul_tn_rx32_accumulate(%[[DT]], %[[H]], %[[GA]])
    %da = lora.matmul tn %dt, %h scale 1.0 : (tensor<?x2xf32>, tensor<?x32xf32>) -> tensor<2x32xf32>
    // CHECK-NEXT: lora.launch @matmul_tn_32xr_accumulate(%[[DY]], %[[T]], %[[GB]])
    %db = lora.matmul tn %dy, %t scale 2.0 : (tensor<?x32xf32>, tensor<?x2xf32>) -> tensor<32x2xf32>
    lora.gradient @a, %da : tensor<2x32xf32>
    lora.gradient @b, %db : tensor<32x2xf32>
    // CHECK-NEXT: lora.return
    lora.return %loss : tensor<?xf32>
  }
}
