// RUN: lorac-opt %s --lora-append-triplets | FileCheck %s
// RUN: lorac-opt %s --lora-append-triplets --lora-plan-memory | FileCheck %s --check-prefix=PLAN
// AdaLoRA on a device: the table has all adapters, also one of rank 0; kernels have no rank.

module attributes {lora.adapters = [{module = "q"}, {module = "v"}]} {
  lora.param @q.lora_A.weight : tensor<4x32xf32> {group = "lora_A"}
  lora.param @q.lora_B.weight : tensor<16x4xf32> {group = "lora_B"}
  lora.param @q.lora_E.weight : tensor<4x1xf32> {folded, group = "lora_E"}
}
// CHECK: lora.kernel @fold_triplets family "fold_triplets"
// CHECK-SAME: {elements = "i32 f32 f32"}
// CHECK-LABEL: func.func @fold()
// CHECK: memref<2x8xi32>
// CHECK: memref<196xf32>
// CHECK: memref<64xf32>
// CHECK-LABEL: func.func @unfold()
// CHECK-LABEL: func.func @unfold_grads()
// CHECK-LABEL: func.func @importance()
// CHECK-LABEL: func.func @scores()
// CHECK: memref<4xf32>
// CHECK-LABEL: func.func @zero_triplets()
// CHECK: memref<4xi32>

// The regions are those that the runtime knows, one place each.
// PLAN: lora.arena = {{.*}}sensitivity = {count = 196 : i64, offset = [[S:[0-9]+]] : i64}
// PLAN-LABEL: func.func @importance()
// PLAN: region "sensitivity" at [[S]]
// PLAN-LABEL: func.func @scores()
// PLAN: region "sensitivity" at [[S]]
