// RUN: lorac-opt %s --lora-append-triplets="beta1=0.75 beta2=0.5" | FileCheck %s
// RUN: lorac-opt %s --lora-append-triplets --lora-plan-memory | FileCheck %s --check-prefix=PLAN
// AdaLoRA: all that it does between the model's programs. The table has all adapters, also one of rank 0; kernels have no rank.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.adapter @v of @v.weight rank 0 scale 1.0
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x32xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
  lora.param @q.lora_E.weight lora_E of @q : tensor<4x1xf32>
  lora.region @momentum_buffer state floats 196 at -1
}
// CHECK: lora.kernel @each_importance family "each"
// CHECK-SAME: ones = array<i64: 3>, regions = 4 : i64, uniform = 4 : i64, what = "importance", writes = array<i64: 2, 3>
// CHECK: ^bb0(%[[P:.*]]: f32, %[[GRAD:.*]]: f32, %[[S:.*]]: f32, %[[U:.*]]: f32, %[[C:.*]]: f32, %[[K1:.*]]: f32, %[[T1:.*]]: f32, %[[K2:.*]]: f32, %[[T2:.*]]: f32):
// CHECK-NEXT: %[[G:.*]] = arith.mulf %[[GRAD]], %[[C]]
// CHECK-NEXT: %[[PG:.*]] = arith.mulf %[[P]], %[[G]]
// CHECK-NEXT: %[[NOW:.*]] = math.absf %[[PG]]
// CHECK-NEXT: %[[KEPT:.*]] = arith.mulf %[[K1]], %[[S]]
// CHECK-NEXT: %[[TAKEN:.*]] = arith.mulf %[[T1]], %[[NOW]]
// CHECK-NEXT: %[[MEAN:.*]] = arith.addf %[[KEPT]], %[[TAKEN]]
// CHECK-NEXT: %[[OFF:.*]] = arith.subf %[[NOW]], %[[MEAN]]
// CHECK-NEXT: %[[DOUBT:.*]] = math.absf %[[OFF]]
// CHECK-NEXT: %[[KEPT2:.*]] = arith.mulf %[[K2]], %[[U]]
// CHECK-NEXT: %[[TAKEN2:.*]] = arith.mulf %[[T2]], %[[DOUBT]]
// CHECK-NEXT: %[[MEAN2:.*]] = arith.addf %[[KEPT2]], %[[TAKEN2]]
// CHECK-NEXT: lora.yield %[[MEAN]], %[[MEAN2]]
// CHECK: lora.kernel @fold_triplets family "fold_triplets"
// CHECK-SAME: {elements = "i32 f32 f32"}
// CHECK-LABEL: lora.program update @importance()
// CHECK: lora.scalar %{{.*}}[0] "beta1" [7.500000e-01]
// CHECK: lora.scalar %{{.*}}[1] "one_minus_beta1" [1.000000e+00, 7.500000e-01, "-"]
// CHECK: lora.scalar %{{.*}}[2] "beta2" [5.000000e-01]
// CHECK: lora.scalar %{{.*}}[3] "one_minus_beta2" [1.000000e+00, 5.000000e-01, "-"]
// CHECK-LABEL: lora.program window_begin @fold()
// CHECK: memref<2x8xi32>
// CHECK: memref<196xf32>
// CHECK: memref<64xf32>
// CHECK-LABEL: lora.program window_end @unfold()
// CHECK-LABEL: lora.program window_end @unfold_grads()
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
