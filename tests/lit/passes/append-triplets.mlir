// RUN: lorac-opt %s --lora-append-triplets | FileCheck %s
// RUN: lorac-opt %s --lora-append-triplets --lora-plan-memory | FileCheck %s --check-prefix=PLAN
// RUN: lorac-opt %s --lora-append-triplets="device=cpu" | FileCheck %s --check-prefix=CPU
// AdaLoRA on a device: the table has all adapters, also one of rank 0; kernels have no rank.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.adapter @v of @v.weight rank 0 scale 1.0
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x32xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
  lora.param @q.lora_E.weight lora_E of @q : tensor<4x1xf32>
  lora.region @momentum_buffer state floats 196 at -1
}
// On the CPU the runtime does it: regions alone.
// CPU: lora.region @sensitivity importance floats 196 at -1
// CPU: lora.region @uncertainty importance floats 196 at -1
// CPU: lora.region @unfolded unfolded floats 64 at -1
// CPU-NOT: lora.program
// CHECK: lora.kernel @fold_triplets family "fold_triplets"
// CHECK-SAME: {elements = "i32 f32 f32"}
// CHECK-LABEL: lora.program window_begin @fold()
// CHECK: memref<2x8xi32>
// CHECK: memref<196xf32>
// CHECK: memref<64xf32>
// CHECK-LABEL: lora.program window_end @unfold()
// CHECK-LABEL: lora.program window_end @unfold_grads()
// CHECK-LABEL: lora.program update @importance()
// CHECK-LABEL: lora.program allocation @scores()
// CHECK: memref<4xf32>
// CHECK-LABEL: lora.program allocation @zero_triplets()
// CHECK: memref<4xi32>
// What is zeroed: parameters, the optimizer's states, both averages.
// CHECK: region "params"
// CHECK: region "momentum_buffer"
// CHECK: region "sensitivity"
// CHECK: region "uncertainty"

// The regions are those that the runtime knows, one place each.
// PLAN: lora.region @sensitivity importance floats 196 at [[S:[0-9]+]]
// PLAN-LABEL: lora.program update @importance()
// PLAN: region "sensitivity" at [[S]]
// PLAN-LABEL: lora.program allocation @scores()
// PLAN: region "sensitivity" at [[S]]
