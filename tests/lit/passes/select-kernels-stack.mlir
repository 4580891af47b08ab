// RUN: lorac-opt %s --lora-select-kernels | FileCheck %s
// Columns are slices; what a concatenation reads is written into it; a fused kernel is two launches here; rows that are no tokens.

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<100x32, f32>
  lora.frozen @w : !lora.weight<32x32, f32>
  lora.param @q_a : tensor<4x32xf32>
  lora.param @k_a : tensor<2x32xf32>
  lora.param @q_b : tensor<32x4xf32>
  lora.stack @a [@q_a, @k_a] : tensor<6x32xf32>
  // CHECK-DAG: lora.kernel @matmul_nn_4x32_exact family "matmul_nn" {{.*}}ldc = 16 : i64
  // CHECK-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train(%ids: tensor<?xi32> loc("ids")) -> tensor<?x32xf32> {
    %e = lora.use @embed : !lora.weight<100x32, f32>
    %w = lora.use @w : !lora.weight<32x32, f32>
    %a = lora.use @a : tensor<6x32xf32>
    %qa = lora.use @q_a : tensor<4x32xf32>
    %b = lora.use @q_b : tensor<32x4xf32>
    // CHECK: lora.launch @embed_f32_100x32(%{{.*}}, %{{.*}}, %[[X:.*]]) rows
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x32, f32>) -> tensor<?x32xf32>
    // CHECK: lora.launch @matmul_nt_6x32(%[[X]], %{{.*}}, %[[T:.*]]) rows
    %t = lora.matmul nt %x, %a scale 1.0 : (tensor<?x32xf32>, tensor<6x32xf32>) -> tensor<?x6xf32>
    // CHECK: %[[TK:.*]] = lora.slice %[[T]] by 16
    %tk = lora.columns %t from 4 : tensor<?x6xf32> to tensor<?x2xf32>
    // CHECK: %[[DT:.*]] = lora.buffer local
    // CHECK-NEXT: %[[DTQ:.*]] = lora.slice %[[DT]] by 8
    // CHECK-NEXT: lora.launch @matmul_nn_4x32_exact(%[[X]], %{{.*}}, %[[DTQ]]) rows
    %dq = lora.matmul nn %x, %b scale 2.0 : (tensor<?x32xf32>, tensor<32x4xf32>) -> tensor<?x4xf32>
    // CHECK-NEXT: lora.launch @matmul_nt_2x2_exact(%[[TK]], %{{.*}}, %[[DT]]) rows
    %small = lora.use @small : tensor<2x2xf32>
    %dk = lora.matmul nt %tk, %small scale 1.0 : (tensor<?x2xf32>, tensor<2x2xf32>) -> tensor<?x2xf32>
    %dt = lora.concat %dk, %dq : (tensor<?x2xf32>, tensor<?x4xf32>) -> tensor<?x6xf32>
    // CHECK: lora.launch @matmul_tn_6x32_accumulate(%[[DT]], %[[X]], %{{.*}}) rows
    %da = lora.matmul tn %dt, %x scale 1.0 : (tensor<?x6xf32>, tensor<?x32xf32>) -> tensor<6x32xf32>
    lora.gradient @a, %da : tensor<6x32xf32>
    // CHECK: %[[Z:.*]] = lora.buffer local {{.*}} : memref<32x32xf32>
    // CHECK-NEXT: lora.launch @matmul_tn_32x32(%[[X]], %[[X]], %[[Z]]) rows{{ ?}}[0, 64] {
    %z = lora.matmul tn %x, %x scale 1.0 : (tensor<?x32xf32>, tensor<?x32xf32>) -> tensor<32x32xf32>
    // CHECK: lora.launch @matmul_nt_4x32_accumulate_exact(%[[Z]], %{{.*}}, %{{.*}}) rows{{ ?}}[0, 32] fixed {
    %db = lora.matmul nt %z, %qa scale 2.0 : (tensor<32x32xf32>, tensor<4x32xf32>) -> tensor<32x4xf32>
    lora.gradient @q_b, %db : tensor<32x4xf32>
    // CHECK: lora.launch @linear_forward_f32_32x32(%[[X]], %{{.*}}, %[[Y:.*]]) rows
    // CHECK-NEXT: lora.launch @map_32(%[[Y]], %{{.*}}) rows
    %out = lora.fused : tensor<?x32xf32> {
      %y = lora.adapted_linear(%x, %w) scale 1.0 : (tensor<?x32xf32>, !lora.weight<32x32, f32>) -> tensor<?x32xf32>
      %n = lora.map %y : (tensor<?x32xf32>) -> tensor<?x32xf32> {
      ^bb0(%v: f32):
        %m = arith.negf %v : f32
        lora.yield %m : f32
      }
      lora.yield %n : tensor<?x32xf32>
    }
    lora.return %out : tensor<?x32xf32>
  }
  lora.param @small : tensor<2x2xf32>
}
