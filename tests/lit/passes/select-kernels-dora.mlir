// RUN: lorac-opt %s --lora-select-kernels --lora-plan-memory | FileCheck %s
// RUN: lorac-opt %s --lora-select-kernels="device=cuda compute=bf16" | FileCheck %s --check-prefix=CUDA
// A row for all tokens has the leading dimension 0, its gradient is summed into its place; what is set is written there.

module {
  lora.limits tokens 64 length 16
  lora.frozen @embed : !lora.weight<100x24, f32>
  lora.frozen @w : !lora.weight<24x24, nf4<64>>
  lora.adapter @q of @w rank 3 scale 2.0 method "dora"
  lora.param @a lora_A of @q : tensor<3x24xf32>
  lora.param @b lora_B of @q : tensor<24x3xf32>
  lora.param @m lora_magnitude_vector of @q : tensor<24xf32>
  // CHECK-DAG: lora.kernel @weight_norm_nf4_24x24_low_rank family "weight_norm" {{.*}}most_rank = 256 : i64, n = 24 : i64, scalars = ["rank"], scale = 2.000000e+00 : f64}
  // CHECK-DAG: lora.kernel @map_24 family "map" {{.*}}{cols = 24 : i64, ins = 3 : i64, lds = array<i64: 32, 0, 0, 32>, outs = 1 : i64}
  // CHECK-DAG: lora.kernel @sum_rows_24_accumulate family "sum_rows" {{.*}}{accumulate = true, cols = 24 : i64, ldx = 32 : i64}
  // CUDA-DAG: lora.kernel @weight_norm_nf4_24x24 family "weight_norm" {{.*}}elements = "f32 f32 f32"
  // CUDA-DAG: lora.kernel @map_24 family "map" {{.*}}elements = "bf16 f32 f32 bf16"
  // CUDA-DAG: lora.kernel @sum_rows_24_accumulate family "sum_rows" {{.*}}elements = "bf16 f32"
  // CHECK-LABEL: lora.program micro_batch @train
  // CUDA-LABEL: lora.program micro_batch @train
  lora.program micro_batch @train(%ids: tensor<?xi32> loc("ids")) -> tensor<?x24xf32> {
    %e = lora.use @embed : !lora.weight<100x24, f32>
    %x = lora.embed %ids, %e : (tensor<?xi32>, !lora.weight<100x24, f32>) -> tensor<?x24xf32>
    %w = lora.use @w : !lora.weight<24x24, nf4<64>>
    %a = lora.use @a : tensor<3x24xf32>
    %b = lora.use @b : tensor<24x3xf32>
    %m = lora.use @m : tensor<24xf32>
    // CHECK: %[[N:.*]] = lora.buffer local "weight_norm" {{.*}} : memref<24xf32>
    // CHECK-NEXT: lora.launch @weight_norm_nf4_24x24_low_rank({{.*}}, %[[N]]) rows[0, 24] scalars [3] fixed
    // CUDA: lora.launch @weight_norm_nf4_24x24({{.*}}) rows[0, 24] scalars [3] fixed
    %n = lora.weight_norm %w, %a, %b scale 2.0 : (!lora.weight<24x24, nf4<64>>, tensor<3x24xf32>, tensor<24x3xf32>) -> tensor<24xf32>
    // The result lies over x, never over a row that dies here.
    // CHECK-NEXT: lora.launch @map_24(%[[X:.*]], %{{.*}}, %[[N]], %[[X]]) rows[0, 64]
    %y = lora.map %x, %m, %n : (tensor<?x24xf32>, tensor<24xf32>, tensor<24xf32>) -> tensor<?x24xf32> {
    ^bb0(%p: f32, %q: f32, %r: f32):
      %s = arith.divf %q, %r : f32
      %t = arith.mulf %s, %p : f32
      lora.yield %t : f32
    }
    // CHECK-NEXT: lora.launch @sum_rows_24_accumulate(%[[X]], %{{.*}}) rows[0, 64]
    %dm = lora.sum_rows %y : tensor<?x24xf32> to tensor<24xf32>
    lora.gradient @m, %dm : tensor<24xf32>
    %z = lora.map %y : (tensor<?x24xf32>) -> tensor<?x24xf32> {
    ^bb0(%p: f32):
      %q = arith.negf %p : f32
      lora.yield %q : f32
    }
    lora.return %z : tensor<?x24xf32>
  }
  // CHECK-LABEL: lora.program start @initialize
  // CHECK-DAG: %[[M:.*]] = lora.buffer param "m" {{.*}} : memref<24xf32>
  // CHECK: lora.launch @weight_norm_nf4_24x24_low_rank({{.*}}, %[[M]]) rows[0, 24] scalars [3] fixed
  // CHECK-NOT: lora.launch
  lora.program start @initialize() {
    %w = lora.use @w : !lora.weight<24x24, nf4<64>>
    %a = lora.use @a : tensor<3x24xf32>
    %b = lora.use @b : tensor<24x3xf32>
    %n = lora.weight_norm %w, %a, %b scale 2.0 : (!lora.weight<24x24, nf4<64>>, tensor<3x24xf32>, tensor<24x3xf32>) -> tensor<24xf32>
    lora.set @m, %n : tensor<24xf32>
    lora.return
  }
}
