// RUN: lorac-opt %s --lora-append-update="optimizer=adafactor weight-decay=0.01" | FileCheck %s --check-prefix=FACTOR
// RUN: lorac-opt %s --lora-append-update="optimizer=adafactor first-beta=0.9 scale-parameter=true relative-step=true" | FileCheck %s --check-prefix=SCALED
// RUN: lorac-opt %s --lora-append-update="optimizer=prodigy d0=0.001" | FileCheck %s --check-prefix=PRODIGY
// RUN: lorac-opt %s --lora-append-update="optimizer=prodigy use-bias-correction=true growth-rate=1.5 device=cuda" | FileCheck %s --check-prefix=BIAS
// RUN: lorac-opt %s --lora-append-update="optimizer=schedule_free_adamw warmup-steps=5" | FileCheck %s --check-prefix=FREE
// RUN: lorac-opt %s --lora-append-update="optimizer=adafactor" --lora-plan-memory --lora-check-memory | FileCheck %s --check-prefix=PLAN
// RUN: lorac-opt %s --lora-append-update="optimizer=prodigy" --lora-plan-memory --lora-check-memory | FileCheck %s --check-prefix=PLANNED
// An update of several steps: means, sums and maps in their order; what the host tells them lies one behind the other.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x2048xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
}
// FACTOR-NOT: lora.region @exp_avg state
// FACTOR: lora.region @exp_avg_sq_row state rows 20 at -1
// FACTOR: lora.region @exp_avg_sq_col state columns 2052 at -1
// FACTOR: lora.kernel @mean_lines_adafactor_exp_avg_sq_row family "mean_lines"
// FACTOR-SAME: average = 1 : i64, elements = "i32 f32 f32 f32 f32 f32 f32", line = "rows", ones = array<i64: 3, 0, 1, 2>, storage = ["floats"]
// FACTOR: lora.kernel @mean_lines_adafactor_exp_avg_sq_col family "mean_lines"
// FACTOR-SAME: line = "columns", ones = array<i64: 3, 3, 4, 5>
// FACTOR: lora.kernel @mean_lines_adafactor_row_mean family "mean_lines"
// FACTOR-SAME: average = 0 : i64, elements = "i32 f32 f32", line = "parameters", ones = array<i64>, storage = ["rows"]
// FACTOR: lora.kernel @mean_lines_adafactor_mean_square family "mean_lines"
// FACTOR-SAME: storage = ["rows", "parameters", "columns", "floats"]
// FACTOR: lora.kernel @each_adafactor family "each"
// FACTOR-SAME: storage = ["floats", "floats", "rows", "columns", "parameters", "parameters"]
// FACTOR-SAME: writes = array<i64: 0>
// FACTOR-LABEL: lora.program update @update()
// FACTOR: %[[MATRICES:.*]] = lora.buffer io "update_matrices" at -1 : memref<2x5xi32>
// FACTOR: lora.buffer io "norm"
// FACTOR: %[[TOLD:.*]] = lora.buffer io "update" at -1 : memref<10xf32>
// FACTOR: lora.scalar %[[TOLD]][0] "eps"
// FACTOR: lora.scalar %[[TOLD]][1] "exp_avg_sq_row_keep" [1.000000e+00, "update", -8.000000e-01, "pow", "-"]
// FACTOR: lora.scalar %[[TOLD]][2] "exp_avg_sq_row_take" [1.000000e+00, 1.000000e+00, "update", -8.000000e-01, "pow", "-", "-"]
// FACTOR: lora.launch @mean_lines_adafactor_exp_avg_sq_row(%[[MATRICES]], {{.*}}) rows{{ ?}}[0, 2] fixed
// FACTOR: %[[MEAN:.*]] = lora.buffer local "row_mean" at -1 : memref<2xf32>
// FACTOR: lora.launch @mean_lines_adafactor_row_mean({{.*}}, %[[MEAN]]) rows{{ ?}}[0, 2] fixed
// FACTOR: lora.slice %[[TOLD]] by 24 : memref<10xf32> to memref<4xf32>
// FACTOR: lora.scalar %[[TOLD]][8] "rate" ["rate"] by_group 1
// FACTOR: lora.launch @each_adafactor({{.*}}%[[MEAN]]{{.*}}) rows{{ ?}}[0, 3] fixed

// SCALED: lora.region @exp_avg state floats 8256 at -1
// SCALED: lora.kernel @mean_lines_adafactor_param_square family "mean_lines"
// SCALED: lora.kernel @each_adafactor family "each"
// SCALED-SAME: by_group = 0 : i64
// SCALED-SAME: writes = array<i64: 0, 2>
// SCALED: "rate" [1.000000e-02, 1.000000e+00, "update", "sqrt", "/", "min"]

// PRODIGY: lora.region @p0 state floats 8256 at -1 begins "params"
// PRODIGY: lora.region @d state one 1 at -1 begins 1.000000e-03 : f64
// PRODIGY: lora.region @d_numerator state one 1 at -1{{$}}
// PRODIGY-NOT: @correction1
// PRODIGY: lora.kernel @each_prodigy_moments family "each"
// PRODIGY-SAME: ones = array<i64: 3, 0>
// PRODIGY-SAME: writes = array<i64: 2, 3, 4>
// PRODIGY: lora.kernel @sum_spans_prodigy_distance family "sum_spans"
// PRODIGY: lora.kernel @sum_whole_prodigy_distance family "sum_whole"
// PRODIGY-SAME: results = 1 : i64
// PRODIGY: lora.kernel @sum_whole_prodigy_estimate family "sum_whole"
// PRODIGY-SAME: results = 4 : i64
// PRODIGY: lora.kernel @each_prodigy family "each"
// PRODIGY-SAME: writes = array<i64: 0>
// PRODIGY-LABEL: lora.program update @update()
// PRODIGY: lora.launch @each_prodigy_moments(
// PRODIGY: lora.launch @sum_spans_prodigy_distance(
// PRODIGY: %[[DISTANCE:.*]] = lora.buffer local "distance" at -1 : memref<1xf32>
// PRODIGY: lora.launch @sum_whole_prodigy_distance({{.*}}, %[[DISTANCE]])
// PRODIGY: lora.launch @sum_spans_prodigy_estimate(
// PRODIGY: lora.launch @sum_whole_prodigy_estimate({{.*}}%[[DISTANCE]]{{.*}})
// PRODIGY: lora.launch @each_prodigy(

// BIAS: lora.region @correction1 state one 1
// BIAS: lora.region @correction2 state one 1
// BIAS: lora.kernel @sum_whole_prodigy_estimate family "sum_whole"
// BIAS-SAME: results = 6 : i64

// FREE: lora.region @z state floats 8256 at -1 begins "params"
// FREE: lora.region @exp_avg_sq state floats 8256 at -1{{$}}
// FREE: lora.kernel @each_average family "each"
// FREE-SAME: ones = array<i64: 0>, regions = 3 : i64, uniform = 0 : i64, what = "average", writes = array<i64: 2>
// FREE: lora.kernel @each_swap family "each"
// FREE-SAME: writes = array<i64: 0, 1>
// FREE-LABEL: lora.program update @update()
// FREE: "share" ["update", 5.000000e+00, "min", 5.000000e+00, "/",
// FREE-LABEL: lora.program between_steps @average()
// FREE: lora.scalar %{{.*}}[0] "back"
// FREE-LABEL: lora.program between_steps @swap()

// PLAN: lora.region @exp_avg_sq_row state rows 20 at {{[0-9]+}}
// PLAN: lora.launch @each_adafactor
// PLANNED: lora.region @d state one 1 at {{[0-9]+}} begins
// PLANNED: lora.launch @each_prodigy(
