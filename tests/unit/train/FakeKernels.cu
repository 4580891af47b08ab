// The bigram model of FakeModule.c as kernels of a GPU (docs/cuda.md): bf16 activations, weights by
// rows. FakeKernels.ptx comes from it:
//   nvcc -ptx -arch=compute_80 FakeKernels.cu
typedef unsigned short bf16;

struct Step {
  long long tokens, segments;
  float lossScale;
  unsigned seed, step, micro;
};
struct Norm {
  float maxNorm, gradientScale, norm, clip;
};
struct Update {
  float oneMinusBeta1, beta2, oneMinusBeta2, correction2Sqrt, eps;
  struct {
    float decay, minusStep;
  } group[2];
};

#define N 4
#define LD 16
#define COLUMNS 64
#define KERNEL extern "C" __global__ void

__device__ float wide(bf16 x) { return __uint_as_float((unsigned)x << 16); }
__device__ bf16 narrow(float x) {
  bf16 out;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(out) : "f"(x));
  return out;
}
__device__ int rowsOf(const Step *step, int begin, int count) {
  if (begin < 0)
    return count;
  long long rows = step->tokens - begin;
  return rows < 0 ? 0 : rows > count ? count : (int)rows;
}
__device__ float sumOfWarp(float x) {
#pragma unroll 1
  for (int lane = 16; lane > 0; lane /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, lane);
  return x;
}

KERNEL fake_embed(const int *ids, const bf16 *table, const float *bias, bf16 *out,
                  const Step *step, int begin, int count) {
  int row = blockIdx.x, j = threadIdx.x;
  if (row >= rowsOf(step, begin, count) || j >= N)
    return;
  out[row * LD + j] = narrow(wide(table[ids[row] * COLUMNS + j]) + bias[j]);
}

KERNEL fake_ends(const int *rowEnds, const int *positions, const int *starts, float *out,
                 const Step *step, int begin, int count) {
  int row = threadIdx.x;
  if (row < rowsOf(step, begin, count))
    out[row] = rowEnds[row] * 100 + positions[row] * 10 + starts[1];
}

KERNEL fake_loss(const bf16 *hidden, const int *labels, const bf16 *table, float *loss,
                 const Step *step, int begin, int count) {
  extern __shared__ float squares[];
  int lane = threadIdx.x, rows = rowsOf(step, begin, count);
#pragma unroll 1
  for (int row = 0; row < rows; ++row) {
    float d = 0;
    if (lane < N && labels[row] >= 0)
      d = wide(hidden[row * LD + lane]) - wide(table[labels[row] * COLUMNS + lane]);
    squares[lane] = 0.5f * d * d;
    __syncthreads();
    if (lane == 0)
      loss[row] = squares[0] + squares[1] + squares[2] + squares[3];
    __syncthreads();
  }
}

KERNEL fake_grad(const bf16 *hidden, const int *labels, const bf16 *table, float *grad,
                 const Step *step, int begin, int count) {
  int j = blockIdx.y, rows = rowsOf(step, begin, count);
  float sum = 0;
#pragma unroll 1
  for (int row = threadIdx.x; row < rows; row += 32)
    if (labels[row] >= 0)
      sum += wide(hidden[row * LD + j]) - wide(table[labels[row] * COLUMNS + j]);
  sum = sumOfWarp(sum);
  if (threadIdx.x == 0)
    grad[j] += step->lossScale * sum;
}

KERNEL fake_head(const bf16 *in, const bf16 *table, float *logits, const Step *step, int begin,
                 int count) {
  int row = blockIdx.x, token = threadIdx.x;
  if (row >= rowsOf(step, begin, count) || token >= 8)
    return;
  float sum = 0;
#pragma unroll 1
  for (int j = 0; j < N; ++j)
    sum += wide(in[row * LD + j]) * wide(table[token * COLUMNS + j]);
  logits[row * LD + token] = sum;
}

KERNEL fake_begin(const int *spans, float *grads, const Step *step, int begin, int count) {
  const int *span = spans + 4 * blockIdx.x;
  if (threadIdx.x < span[1])
    grads[span[0] + threadIdx.x] = 0;
}

KERNEL fake_squares(const int *spans, const float *grads, float *partial, const Step *step,
                    int begin, int count) {
  extern __shared__ float unused[];
  const int *span = spans + 4 * blockIdx.x;
  float sum = 0;
#pragma unroll 1
  for (int i = threadIdx.x; i < span[1]; i += 32) {
    float g = grads[span[0] + i];
    sum += g * g;
  }
  sum = sumOfWarp(sum);
  if (threadIdx.x == 0)
    partial[blockIdx.x] = sum;
}

KERNEL fake_norm(const float *partial, Norm *norm, const Step *step, int begin, int count) {
  if (threadIdx.x != 0)
    return;
  float sum = 0;
#pragma unroll 1
  for (int i = 0; i < rowsOf(step, begin, count); ++i)
    sum += partial[i];
  norm->norm = __fsqrt_rn(sum) * norm->gradientScale;
  float clip = __fdiv_rn(norm->maxNorm, norm->norm + 1e-6f);
  norm->clip = (norm->maxNorm > 0 && clip < 1 ? clip : 1.0f) * norm->gradientScale;
}

KERNEL fake_update(const int *spans, const Update *update, const Norm *norm, float *p,
                   const float *grads, float *m, float *v, const Step *step, int begin, int count) {
  const int *span = spans + 4 * blockIdx.x;
#pragma unroll 1
  for (int k = threadIdx.x; k < span[1]; k += blockDim.x) {
    int i = span[0] + k, group = span[2];
    float g = __fmul_rn(grads[i], norm->clip);
    float decayed = __fmul_rn(p[i], update->group[group].decay);
    float mean = __fadd_rn(m[i], __fmul_rn(update->oneMinusBeta1, __fsub_rn(g, m[i])));
    float square = __fadd_rn(__fmul_rn(v[i], update->beta2),
                             __fmul_rn(__fmul_rn(update->oneMinusBeta2, g), g));
    m[i] = mean;
    v[i] = square;
    float denominator =
        __fadd_rn(__fdiv_rn(__fsqrt_rn(square), update->correction2Sqrt), update->eps);
    p[i] = __fadd_rn(decayed, __fdiv_rn(__fmul_rn(update->group[group].minusStep, mean), denominator));
  }
}
