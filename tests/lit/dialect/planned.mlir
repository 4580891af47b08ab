// RUN: lorac-opt %s | FileCheck %s
// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s --mlir-print-op-generic | lorac-opt | FileCheck %s
// Kernels, buffers and launches print as they parse.

lora.frozen @norm : !lora.weight<64, vector>
// CHECK: lora.kernel @rms_norm_forward_64 family "rms_norm_forward" rows tile 16 count 0 scratch 128 {eps = 1.000000e-05 : f64, n = 64 : i64}
lora.kernel @rms_norm_forward_64 family "rms_norm_forward" rows tile 16 count 0 scratch 128 {n = 64 : i64, eps = 1.0e-5 : f64}
// CHECK: lora.kernel @dw family "matmul_tn" const tile 1 count 4 scratch 0 {i = 4 : i64}
lora.kernel @dw family "matmul_tn" const tile 1 count 4 scratch 0 {i = 4 : i64}
// CHECK: lora.kernel @att family "attention_forward" segments tile 1 count 4 scratch 0 {}
lora.kernel @att family "attention_forward" segments tile 1 count 4 scratch 0 {}
// CHECK: lora.kernel @add family "map" rows tile 16 count 0 scratch 0 {cols = 64 : i64} body {
// CHECK-NEXT: ^bb0(%[[X:.*]]: f32, %[[Y:.*]]: f32):
// CHECK-NEXT: arith.addf %[[X]], %[[Y]] : f32
// CHECK-NEXT: lora.yield
lora.kernel @add family "map" rows tile 16 count 0 scratch 0 {cols = 64 : i64} body {
^bb0(%x: f32, %y: f32):
  %s = arith.addf %x, %y : f32
  lora.yield %s : f32
}

// CHECK: lora.region @exp_avg state floats 256 at 1024
lora.region @exp_avg state floats 256 at 1024

// CHECK: lora.region @exp_avg_sq state dynamic8_unsigned 256 at 2048
lora.region @exp_avg_sq state dynamic8_unsigned 256 at 2048
// CHECK: lora.region @exp_avg_sq_absmax state absmax 1 at 2304
lora.region @exp_avg_sq_absmax state absmax 1 at 2304
// CHECK: lora.region @exp_avg_sq_row state rows 20 at 2432
lora.region @exp_avg_sq_row state rows 20 at 2432
// CHECK: lora.region @d state one 1 at 2560 begins 5.000000e-01 : f64
lora.region @d state one 1 at 2560 begins 0.5 : f64
// CHECK: lora.region @z state floats 256 at 3072 begins "params"
lora.region @z state floats 256 at 3072 begins "params"

// CHECK-LABEL: lora.program update @update
lora.program update @update() {
  %u = lora.buffer io "update" at 0 : memref<8xf32>
  // CHECK: lora.scalar %{{.*}}[4] "decay" [1.000000e+00, "rate", 1.000000e-02, "*", "-"] by_group 2 : memref<8xf32>
  lora.scalar %u[4] "decay" [1.0, "rate", 0.01, "*", "-"] by_group 2 : memref<8xf32>
  // CHECK: lora.scalar %{{.*}}[5] "rate" ["rate"] : memref<8xf32>
  lora.scalar %u[5] "rate" ["rate"] : memref<8xf32>
  lora.return
}

// CHECK-LABEL: lora.program micro_batch @train
lora.program micro_batch @train() {
  // CHECK: %[[H:.*]] = lora.buffer local "h" at 4096 : memref<128x64xf32>
  %h = lora.buffer local "h" at 4096 : memref<128x64xf32>
  // CHECK: lora.buffer io "ids" at 0 : memref<128xi32>
  %ids = lora.buffer io "ids" at 0 : memref<128xi32>
  %t = lora.buffer table "rope" at -1 : memref<32x16xf32>
  %p = lora.buffer param "a" at -1 : memref<4x64xf32>
  %g = lora.buffer grad "a" at -1 : memref<4x64xf32>
  // CHECK: %[[C:.*]] = lora.slice %[[H]] by 16384 : memref<128x64xf32> to memref<64x64xf32>
  %c = lora.slice %h by 16384 : memref<128x64xf32> to memref<64x64xf32>
  %w = lora.use @norm : !lora.weight<64, vector>
  // CHECK: lora.launch @rms_norm_forward_64(%[[C]], %{{.*}}, %[[C]]) rows{{ ?}}[64, 64] : memref<64x64xf32>, !lora.weight<64, vector>, memref<64x64xf32>
  lora.launch @rms_norm_forward_64(%c, %w, %c) rows [64, 64] : memref<64x64xf32>, !lora.weight<64, vector>, memref<64x64xf32>
  lora.return
}
