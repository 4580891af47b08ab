// RUN: lorac-opt %s -split-input-file -verify-diagnostics -lora-emit-cuda | FileCheck %s
// The kernel of an optimizer's body: scalars are read before the loop, the body is C++ op by op. Arguments
// whose location is a name that C knows have it.

// CHECK: __launch_bounds__(256) each_one(
// CHECK-NEXT: const int *__restrict__ spans,
// CHECK-NEXT: const float *__restrict__ scalars,
// CHECK-NEXT: const float *__restrict__ one,
// CHECK-NEXT: float *params,
// CHECK-NEXT: const float *__restrict__ x1,
// CHECK: const float clip = one[3];
// CHECK: const float most = scalars[0];
// CHECK: const int of_group = (spans[entry + 2] * 2) + 1;
// CHECK-NEXT: const float rate = scalars[of_group];
// CHECK-NEXT: const float x5 = scalars[of_group + 1];
// CHECK: for (int i = offset + thread; i < end; i += 256) {
// CHECK-NEXT: const float params_i = params[i];
// CHECK-NEXT: const float x1_i = x1[i];
// CHECK-NEXT: const float [[H:.*]] = x1_i * clip;
// CHECK-NEXT: const float [[G:.*]] = ([[H]] < most) ? [[H]] : most;
// CHECK-NEXT: const float [[R:.*]] = sqrtf(fabsf([[G]]));
// CHECK-NEXT: const float [[M:.*]] = ([[R]] > x5) ? [[R]] : x5;
// CHECK-NEXT: params[i] = (([[M]] < [[G]]) || ([[M]] > [[G]])) ? (params_i * rate) : -(-1.0f);
lora.kernel @each_one family "each" rows tile 1 count 0 scratch 0 {what = "one", regions = 2 : i64, uniform = 1 : i64,
    by_group = 2 : i64, ones = array<i64: 3>, writes = array<i64: 0>, elements = "i32 f32 f32 f32 f32"} body {
^bb0(%p: f32 loc("params"), %x: f32 loc("model.layers.0"), %clip: f32 loc("clip"), %most: f32 loc("most"), %rate: f32 loc("rate"), %least: f32):
  %h = arith.mulf %x, %clip : f32
  %g = arith.minimumf %h, %most : f32
  %a = math.absf %g : f32
  %r = math.sqrt %a : f32
  %m = arith.maximumf %r, %least : f32
  %c = arith.cmpf one, %m, %g : f32
  %s = arith.mulf %p, %rate : f32
  %minus = arith.constant -1.0 : f32
  %n = arith.negf %minus : f32
  %p1 = arith.select %c, %s, %n : f32
  lora.yield %p1 : f32
}

// -----

// expected-error @+1 {{the CUDA printer does not know this op}}
lora.kernel @each_other family "each" rows tile 1 count 0 scratch 0 {what = "other", regions = 1 : i64, uniform = 0 : i64,
    by_group = 0 : i64, ones = array<i64>, writes = array<i64: 0>, elements = "i32 f32"} body {
^bb0(%x: f32):
  %i = math.atan %x : f32
  lora.yield %i : f32
}

// -----

// States of 8 bits: a block of 256 a turn; all threads take part in the largest of a block.

// CHECK: __launch_bounds__(256) each_stored(
// CHECK: float *params,
// CHECK-NEXT: u8 *exp_avg,
// CHECK-NEXT: float *exp_avg_absmax,
// CHECK-NEXT: const float *__restrict__ maps,
// CHECK: const int own = spans[entry + 3];
// CHECK: for (int first = offset; first < end; first += 256) {
// CHECK: is_there
// CHECK: maps[exp_avg_code]
// CHECK: __syncthreads();
// CHECK: inverse = 1.0f / absmax;
// CHECK: exp_avg_absmax[block] =
// CHECK: exp_avg[i] = (u8)
// CHECK: __syncthreads();
lora.kernel @each_stored family "each" rows tile 1 count 0 scratch 0 {what = "stored", regions = 2 : i64, uniform = 0 : i64,
    by_group = 0 : i64, ones = array<i64>, writes = array<i64: 0, 1>, storage = ["floats", "dynamic8_signed"],
    elements = "i32 f32 i8 f32 f32"} body {
^bb0(%p: f32 loc("params"), %m: f32 loc("exp_avg")):
  %s = arith.addf %p, %m : f32
  lora.yield %s, %s : f32, f32
}
