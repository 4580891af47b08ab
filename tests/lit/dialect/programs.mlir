// RUN: lorac-opt %s | lorac-opt | FileCheck %s
// RUN: lorac-opt %s --mlir-print-op-generic | lorac-opt | FileCheck %s
// What a module says of itself at each stage, read back as it was printed.

// CHECK: lora.model "llama" {head_dim = 16 : i64, rms_norm_eps = 1.000000e-05 : f64}
// CHECK: lora.limits tokens 128 length 32
lora.model "llama" {head_dim = 16 : i64, rms_norm_eps = 1.0e-5 : f64}
lora.limits tokens 128 length 32

// CHECK: lora.program inference @head(%{{.*}}: tensor<?x8xf32>) -> tensor<?x8xf32> {
// CHECK: lora.return %{{.*}} : tensor<?x8xf32>
lora.program inference @head(%h: tensor<?x8xf32>) -> tensor<?x8xf32> {
  lora.return %h : tensor<?x8xf32>
}
// CHECK: lora.program window_end @norm() {
// CHECK-NEXT: lora.return
lora.program window_end @norm() {
  lora.return
}

module @planned {
  // CHECK: lora.limits tokens 128 length 32 head_rows 16 memory 4096 workers 2
  lora.limits tokens 128 length 32 head_rows 16 memory 4096 workers 2
  // CHECK: lora.recompute kept 12 flops 34 estimate 56 evaluations 1 least {
  // CHECK-NEXT: lora.layers -1 to -1 kept 4 flops 0 again []
  // CHECK-NEXT: lora.layers 0 to 1 kept 4 flops 17 again ["norm", "map"]
  lora.recompute kept 12 flops 34 estimate 56 evaluations 1 least {
    lora.layers -1 to -1 kept 4 flops 0 again []
    lora.layers 0 to 1 kept 4 flops 17 again ["norm", "map"]
  }
  // CHECK: lora.arena bytes 4736 persistent 576
  lora.arena bytes 4736 persistent 576
}
