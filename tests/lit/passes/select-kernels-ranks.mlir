// RUN: lorac-opt %s --lora-select-kernels | FileCheck %s
// RUN: lorac-opt %s --lora-select-kernels | grep -c '^ *lora.kernel @' | FileCheck %s --check-prefix=COUNT
// Two adapters of one shape, ranks 24 and 40: one kernel a product, of which each launch says the sizes that are ranks.

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<100x32, f32>
  lora.frozen @w : !lora.weight<32x32, f32>
  lora.adapter @q of @w rank 24 scale 1.0
  lora.adapter @k of @w rank 40 scale 1.0
  lora.param @a1 lora_A of @q : tensor<24x32xf32>
  lora.param @b1 lora_B of @q : tensor<32x24xf32>
  lora.param @a2 lora_A of @k : tensor<40x32xf32>
  lora.param @b2 lora_B of @k : tensor<32x40xf32>
  // Embedding, x·Aᵀ, both linears, dy·B, both gradients, a Gram matrix, its term and the product with it.
  // COUNT: {{^}}10{{$}}
  // CHECK-DAG: lora.kernel @matmul_nt_rx32 {{.*}}columns = 16 : i64, exact = false, k = 32 : i64, lda = 32 : i64, ldb = 32 : i64, scalars = ["j", "ldc"]
  // CHECK-DAG: lora.kernel @linear_forward_f32_32x32_low_rank {{.*}}most_rank = 256 : i64, {{.*}}scalars = ["rank", "ldt"]
  // CHECK-DAG: lora.kernel @matmul_nn_rx32 {{.*}}k = 32 : i64, lda = 32 : i64, scalars = ["j", "ldb", "ldc"]
  // CHECK-DAG: lora.kernel @matmul_tn_rx32_accumulate {{.*}}j = 32 : i64, ldb = 32 : i64, ldc = 32 : i64, scalars = ["i", "lda"]
  // CHECK-DAG: lora.kernel @matmul_tn_32xr_accumulate {{.*}}i = 32 : i64, lda = 32 : i64, scalars = ["j", "ldb", "ldc"]
  // CHECK-DAG: lora.kernel @linear_backward_f32_32x32_low_rank {{.*}}most_rank = 256 : i64, {{.*}}scalars = ["rank", "lddt"]
  // CHECK-DAG: lora.kernel @matmul_nt_rx32_exact {{.*}}scalars = ["j", "ldc"]
  // CHECK-DAG: lora.kernel @orthogonal_term_r {{.*}}{scalars = ["n"], scale
  // CHECK-DAG: lora.kernel @matmul_nn_32xr_accumulate_exact {{.*}}j = 32 : i64, ldb = 32 : i64, ldc = 32 : i64, scalars = ["k", "lda"]
  // CHECK-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train(%ids: tensor<?xi32> loc("ids")) -> tensor<?x32xf32> {
    %e = lora.use @embed : !lora.weight<100x32, f32>
    %w = lora.use @w : !lora.weight<32x32, f32>
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x32, f32>) -> tensor<?x32xf32>
    %a1 = lora.use @a1 : tensor<24x32xf32>
    %b1 = lora.use @b1 : tensor<32x24xf32>
    // CHECK: lora.launch @matmul_nt_rx32({{.*}}) rows[0, 64] scalars [24, 32]
    %t1 = lora.matmul nt %x, %a1 scale 1.0 : (tensor<?x32xf32>, tensor<24x32xf32>) -> tensor<?x24xf32>
    // CHECK-NEXT: lora.buffer
    // CHECK-NEXT: lora.launch @linear_forward_f32_32x32_low_rank({{.*}}) rows[0, 64] scalars [24, 32]
    %y1 = lora.adapted_linear(%x, %w) low_rank(%t1, %b1) scale 1.0 : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x24xf32>, tensor<32x24xf32>) -> tensor<?x32xf32>
    // CHECK: lora.launch @matmul_nn_rx32({{.*}}) rows[0, 64] scalars [24, 24, 32]
    %dt1 = lora.matmul nn %y1, %b1 scale 1.0 : (tensor<?x32xf32>, tensor<32x24xf32>) -> tensor<?x24xf32>
    // CHECK: lora.launch @matmul_tn_rx32_accumulate({{.*}}) rows[0, 64] scalars [24, 32]
    %da1 = lora.matmul tn %dt1, %x scale 1.0 : (tensor<?x24xf32>, tensor<?x32xf32>) -> tensor<24x32xf32>
    lora.gradient @a1, %da1 : tensor<24x32xf32>
    // CHECK: lora.launch @matmul_tn_32xr_accumulate({{.*}}) rows[0, 64] scalars [24, 32, 24]
    %db1 = lora.matmul tn %y1, %t1 scale 1.0 : (tensor<?x32xf32>, tensor<?x24xf32>) -> tensor<32x24xf32>
    lora.gradient @b1, %db1 : tensor<32x24xf32>
    // CHECK: lora.launch @linear_backward_f32_32x32_low_rank({{.*}}) rows[0, 64] scalars [24, 32]
    %dx1 = lora.adapted_linear_backward(%y1, %w) low_rank(%dt1, %a1) : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x24xf32>, tensor<24x32xf32>) -> tensor<?x32xf32>

    %a2 = lora.use @a2 : tensor<40x32xf32>
    %b2 = lora.use @b2 : tensor<32x40xf32>
    // CHECK: lora.launch @matmul_nt_rx32({{.*}}) rows[0, 64] scalars [40, 48]
    %t2 = lora.matmul nt %dx1, %a2 scale 1.0 : (tensor<?x32xf32>, tensor<40x32xf32>) -> tensor<?x40xf32>
    // CHECK: lora.launch @linear_forward_f32_32x32_low_rank({{.*}}) rows[0, 64] scalars [40, 48]
    %y2 = lora.adapted_linear(%dx1, %w) low_rank(%t2, %b2) scale 1.0 : (tensor<?x32xf32>, !lora.weight<32x32, f32>, tensor<?x40xf32>, tensor<32x40xf32>) -> tensor<?x32xf32>
    // CHECK: lora.launch @matmul_nn_rx32({{.*}}) rows[0, 64] scalars [40, 40, 48]
    %dt2 = lora.matmul nn %y2, %b2 scale 1.0 : (tensor<?x32xf32>, tensor<32x40xf32>) -> tensor<?x40xf32>
    // CHECK: lora.launch @matmul_tn_rx32_accumulate({{.*}}) rows[0, 64] scalars [40, 48]
    %da2 = lora.matmul tn %dt2, %dx1 scale 1.0 : (tensor<?x40xf32>, tensor<?x32xf32>) -> tensor<40x32xf32>
    lora.gradient @a2, %da2 : tensor<40x32xf32>
    // A Gram matrix has a rank in both dimensions.
    // CHECK: lora.launch @matmul_nt_rx32_exact({{.*}}) rows[0, 40] scalars [40, 40] fixed
    %g = lora.matmul nt %a2, %a2 scale 1.0 : (tensor<40x32xf32>, tensor<40x32xf32>) -> tensor<40x40xf32>
    // CHECK: lora.launch @orthogonal_term_r({{.*}}) rows[0, 40] scalars [40] fixed
    %o, %n = lora.orthogonal_term %g scale 2.0 : tensor<40x40xf32> -> tensor<40x40xf32>, tensor<1xf32>
    // CHECK: lora.launch @matmul_nn_32xr_accumulate_exact({{.*}}) rows[0, 40] scalars [40, 40] fixed
    %do = lora.matmul nn %o, %a2 scale 1.0 : (tensor<40x40xf32>, tensor<40x32xf32>) -> tensor<40x32xf32>
    lora.gradient @a2, %do : tensor<40x32xf32>
    lora.return %y2 : tensor<?x32xf32>
  }
}
