// y = x * scale[column] for rows of n floats that begin `stride` apart, a multiple of 4; what stands
// between n and stride is nobody's to read, and becomes zero. A block of 64 threads makes a row.
extern "C" __global__ void scale_rows(const float *x, const float *scale, float *y, int rows, int n,
                                      int stride) {
  extern __shared__ float factors[];
  const int row = (int)blockIdx.x, thread = (int)threadIdx.x;
  if (row >= rows)
    return;
  for (int at = thread; at < stride; at += 64)
    factors[at] = at < n ? scale[at] : 0;
  __syncthreads();
  for (int at = thread * 4; at < stride; at += 256) {
    float values[4];
    if (at + 4 <= n) {
      *(float4 *)values = *(const float4 *)&x[row * stride + at];
    } else {
      for (int e = 0; e < 4; ++e)
        values[e] = at + e < n ? x[row * stride + at + e] : 0;
    }
    for (int e = 0; e < 4; ++e)
      values[e] *= factors[at + e];
    *(float4 *)&y[row * stride + at] = *(float4 *)values;
  }
}
