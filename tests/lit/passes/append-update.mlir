// RUN: lorac-opt %s --lora-append-update="weight-decay=0.01" | FileCheck %s
// RUN: lorac-opt %s --lora-append-update="optimizer=lion device=cuda" | FileCheck %s --check-prefix=LION
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
// CHECK: lora.kernel @each_adamw family "each"
// CHECK-SAME: by_group = 2 : i64, elements = "i32 f32 f32 f32 f32 f32 f32", ones = array<i64: 3>, regions = 4 : i64, uniform = 5 : i64, what = "adamw", writes = array<i64: 0, 2, 3>
// CHECK-NOT: 9.0{{.*}}e-01
// CHECK: %[[G:.*]] = arith.mulf %arg1, %arg4 : f32
// CHECK: lora.yield
// CHECK-NOT: lora.program window_end @norm
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
