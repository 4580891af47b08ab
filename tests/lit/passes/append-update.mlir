// RUN: lorac-opt %s --lora-append-update="weight-decay=0.01" | FileCheck %s
// RUN: lorac-opt %s --lora-append-update="optimizer=lion device=cuda" | FileCheck %s --check-prefix=LION
// RUN: lorac-opt %s --lora-append-update="weight-decay=0.01 decay-by-group=true" | FileCheck %s --check-prefix=GROUPS
// RUN: lorac-opt %s --lora-append-update --lora-plan-memory --lora-check-memory | FileCheck %s --check-prefix=PLAN
// RUN: lorac-opt %s --mlir-print-debuginfo --lora-append-update="weight-decay=0.01" --strip-debuginfo | FileCheck %s
// The update is one launch over all parameters, whatever the optimizer; numbers of the spec are formulas of the host.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x2048xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
}
// CHECK: lora.region @exp_avg state floats 8256 at -1
// CHECK: lora.region @exp_avg_sq state floats 8256 at -1
// CHECK: lora.kernel @each_zero family "each"
// CHECK-SAME: by_group = 0 : i64, elements = "i32 f32", ones = array<i64>, regions = 1 : i64, uniform = 0 : i64, what = "zero", writes = array<i64: 0>
// CHECK: ^bb0(%{{.*}}: f32{{.*}}):
// CHECK-NEXT: %[[ZERO:.*]] = arith.constant 0.0
// CHECK-NEXT: lora.yield %[[ZERO]] : f32
// CHECK: lora.kernel @sum_spans_squares family "sum_spans"
// CHECK-SAME: {elements = "i32 f32 f64", regions = 1 : i64, what = "squares"}
// CHECK: %[[G:.*]] = arith.extf %arg0 : f32 to f64
// CHECK: %[[S:.*]] = arith.mulf %[[G]], %[[G]] : f64
// CHECK: lora.yield %[[S]] : f64
// CHECK: lora.kernel @sum_whole_norm family "sum_whole"
// CHECK-SAME: {elements = "f64 f32 f32 f32", ones = array<i64: 0, 1>, what = "norm", writes = array<i64: 2, 3>}
// CHECK: %[[ROOT:.*]] = math.sqrt %arg0 : f64
// CHECK: %[[LENGTH:.*]] = arith.truncf %[[ROOT]] : f64 to f32
// CHECK: %[[NORM:.*]] = arith.mulf %[[LENGTH]], %arg2 : f32
// CHECK: %[[ABOVE:.*]] = arith.addf %[[NORM]], %{{.*}} : f32
// CHECK: %[[RATIO:.*]] = arith.divf %arg1, %[[ABOVE]] : f32
// CHECK: %[[CLIPPED:.*]] = arith.minimumf %[[RATIO]], %{{.*}} : f32
// CHECK: %[[CLIPS:.*]] = arith.cmpf olt, %{{.*}}, %arg1 : f32
// CHECK: %[[FACTOR:.*]] = arith.select %[[CLIPS]], %[[CLIPPED]], %{{.*}} : f32
// CHECK: %[[CLIP:.*]] = arith.mulf %[[FACTOR]], %arg2 : f32
// CHECK: lora.yield %[[NORM]], %[[CLIP]] : f32, f32
// CHECK: lora.kernel @each_adamw family "each"
// CHECK-SAME: by_group = 2 : i64, elements = "i32 f32 f32 f32 f32 f32 f32", ones = array<i64: 3>, regions = 4 : i64, uniform = 5 : i64, what = "adamw", writes = array<i64: 0, 2, 3>
// CHECK-NOT: 9.0{{.*}}e-01
// CHECK: %[[G:.*]] = arith.mulf %arg1, %arg4 : f32
// CHECK: lora.yield
// CHECK-LABEL: lora.program window_begin @begin()
// CHECK: %[[GRADS:.*]] = lora.buffer region "grads" at -1 : memref<8256xf32>
// CHECK: lora.launch @each_zero({{.*}}, %[[GRADS]]) rows{{ ?}}[0, 3] fixed
// CHECK-LABEL: lora.program window_end @norm()
// CHECK: %[[SUMS:.*]] = lora.buffer local "sums of squares" at -1 : memref<3xf64>
// CHECK: lora.launch @sum_spans_squares({{.*}}, %[[SUMS]]) rows{{ ?}}[0, 3] fixed
// CHECK: %[[OUT:.*]] = lora.buffer io "norm" at -1 : memref<4xf32>
// CHECK: lora.launch @sum_whole_norm(%[[SUMS]], %[[OUT]], %[[OUT]], %[[OUT]]) rows{{ ?}}[0, 3] fixed
// CHECK-LABEL: lora.program update @update()
// CHECK: %[[SPANS:.*]] = lora.buffer io "update_spans" at -1 : memref<3x4xi32>
// CHECK: %[[SCALARS:.*]] = lora.buffer io "update" at -1 : memref<9xf32>
// CHECK: %[[NORM:.*]] = lora.buffer io "norm" at -1 : memref<4xf32>
// CHECK: lora.scalar %[[SCALARS]][0] "one_minus_beta1" [1.000000e+00, {{9.0*e-01}}, "-"]
// CHECK: lora.scalar %[[SCALARS]][5] "decay" [1.000000e+00, "rate", 1.000000e-02, "*", "-"] by_group 2
// CHECK: lora.scalar %[[SCALARS]][6] "minus_step" ["rate", 1.000000e+00, {{9.0*e-01}}, "update", "pow", "-", "/", "neg"] by_group 2
// CHECK: lora.launch @each_adamw({{.*}}) rows{{ ?}}[0, 3] fixed

// LION: lora.region @exp_avg state
// LION-NOT: lora.region
// LION: lora.kernel @each_lion family "each"
// LION-SAME: writes = array<i64: 0, 2>
// LION-LABEL: lora.program window_end @norm()
// LION-LABEL: lora.program update @update()
// LION: lora.buffer io "step"

// PLAN: lora.region @params params floats 8256 at 0
// PLAN: lora.region @exp_avg state floats 8256 at [[M:[0-9]+]]
// PLAN-LABEL: lora.program update @update()
// PLAN: lora.buffer region "exp_avg" at [[M]]

// GROUPS: lora.scalar %{{.*}}[5] "decay" [1.000000e+00, "rate", "weight_decay", "*", "-"] by_group 2
