// RUN: lorac-opt %s --lora-append-pull="weight=0.5" | FileCheck %s
// RUN: lorac-opt %s --lora-append-pull="weight=0.5" --lora-plan-memory --lora-check-memory | FileCheck %s --check-prefix=PLAN
// RUN: lorac-opt %s --lora-append-pull | FileCheck %s --check-prefix=NONE
// L2-SP: half the squared distance from the start, then its gradients, one launch each over all parameters.

module {
  lora.adapter @q of @q.weight rank 4 scale 1.0
  lora.param @q.lora_A.weight lora_A of @q : tensor<4x2048xf32>
  lora.param @q.lora_B.weight lora_B of @q : tensor<16x4xf32>
}
// CHECK: lora.region @start state floats 8256 at -1
// CHECK: lora.kernel @sum_spans_distances family "sum_spans"
// CHECK-SAME: {elements = "i32 f32 f32 f64", regions = 2 : i64, what = "distances"}
// CHECK: %[[P:.*]] = arith.extf %arg0 : f32 to f64
// CHECK: %[[S:.*]] = arith.extf %arg1 : f32 to f64
// CHECK: %[[OFF:.*]] = arith.subf %[[P]], %[[S]] : f64
// CHECK: %[[SQUARE:.*]] = arith.mulf %[[OFF]], %[[OFF]] : f64
// CHECK: lora.yield %[[SQUARE]] : f64
// CHECK: lora.kernel @sum_whole_half family "sum_whole"
// CHECK: lora.kernel @each_pull family "each"
// CHECK-SAME: by_group = 0 : i64, elements = "i32 f32 f32 f32 f32", ones = array<i64: 1>, regions = 3 : i64, uniform = 0 : i64, what = "pull", writes = array<i64: 0>
// CHECK: %[[OFF:.*]] = arith.subf %arg1, %arg2 : f32
// CHECK: %[[PULLED:.*]] = arith.mulf %{{.*}}, %[[OFF]] : f32
// CHECK: %[[RAISED:.*]] = arith.divf %[[PULLED]], %arg3 : f32
// CHECK: %[[SUM:.*]] = arith.addf %arg0, %[[RAISED]] : f32
// CHECK: lora.yield %[[SUM]] : f32
// CHECK-LABEL: lora.program window_end @pull()
// CHECK: lora.launch @sum_spans_distances({{.*}}) rows{{ ?}}[0, 3] fixed
// CHECK: %[[TERM:.*]] = lora.buffer io "pull" at -1 : memref<1xf32>
// CHECK: lora.launch @sum_whole_half({{.*}}, %[[TERM]]) rows{{ ?}}[0, 3] fixed
// CHECK: %[[GRADS:.*]] = lora.buffer region "grads" at -1 : memref<8256xf32>
// CHECK: lora.launch @each_pull({{.*}}, %[[GRADS]], %{{.*}}, %{{.*}}) rows{{ ?}}[0, 3] fixed

// PLAN: lora.region @params params floats 8256 at 0
// PLAN: lora.region @start state floats 8256 at [[S:[0-9]+]]
// PLAN-LABEL: lora.program window_end @pull()
// PLAN: lora.buffer region "start" at [[S]]

// NONE-NOT: lora.program
