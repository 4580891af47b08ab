// RUN: lorac-opt %s -split-input-file -verify-diagnostics -lora-emit-cuda | FileCheck %s
// Sums in float64: a thread has a partial of its own, the block halves them. The body of the whole reads and writes one buffer.

// CHECK: __launch_bounds__(256) squares(
// CHECK-NEXT: const int *__restrict__ spans,
// CHECK-NEXT: const float *__restrict__ grad,
// CHECK-NEXT: double *sums_of_spans,
// CHECK: double *sums = (double *)(shared + 0); // [256]
// CHECK: double own;
// CHECK-NEXT: own = 0.0;
// CHECK: for (int i = offset + thread; i < end; i += 256) {
// CHECK-NEXT: const float grad_i = grad[i];
// CHECK-NEXT: const double [[G:.*]] = (double)grad_i;
// CHECK-NEXT: own = own + ([[G]] * [[G]]);
// CHECK: sums[thread] = own;
// CHECK-NEXT: int half;
// CHECK-NEXT: half = 128;
// CHECK: for (int turn = 0; turn < 8; ++turn) {
// CHECK-NEXT: __syncthreads();
// CHECK: sums[thread] = sums[thread] + sums[other];
// CHECK: half = half >> 1;
// CHECK: if (thread == 0) {
// CHECK: sums_of_spans[(int)blockIdx.x] = total;

// CHECK: __launch_bounds__(256) whole(
// CHECK-NEXT: const double *__restrict__ numbers,
// CHECK-NEXT: const float *__restrict__ one,
// CHECK-NEXT: float *result,
// CHECK: i < rows; i += 256) {
// CHECK: const float scale = one[1];
// CHECK: result[2] = (float)sqrt(total) * scale;
lora.kernel @squares family "sum_spans" rows tile 1 count 0 scratch 0 {what = "squares", regions = 1 : i64,
    elements = "i32 f32 f64"} body {
^bb0(%grad: f32 loc("grad")):
  %g = arith.extf %grad : f32 to f64
  %s = arith.mulf %g, %g : f64
  lora.yield %s : f64
}
lora.kernel @whole family "sum_whole" rows tile 1 count 0 scratch 0 {what = "norm", ones = array<i64: 1>, writes = array<i64: 2>,
    elements = "f64 f32 f32"} body {
^bb0(%total: f64, %scale: f32 loc("scale")):
  %r = math.sqrt %total : f64
  %n = arith.truncf %r : f64 to f32
  %s = arith.mulf %n, %scale : f32
  lora.yield %s : f32
}

// -----

// expected-error @+1 {{the CUDA printer does not know this op}}
lora.kernel @odd_sum family "sum_spans" rows tile 1 count 0 scratch 0 {what = "odd", regions = 1 : i64, elements = "i32 f32 f64"} body {
^bb0(%x: f32):
  %w = arith.extf %x : f32 to f64
  %i = math.atan %w : f64
  lora.yield %i : f64
}
