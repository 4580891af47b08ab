// The sum of n floats, in two launches: a part for each block, then all parts by one block. Blocks
// have 128 threads.
static __device__ float over_warp(float value) {
  for (int by = 16; by > 0; by /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, by);
  return value;
}

static __device__ float over_block(float value, float *shared) {
  const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
  value = over_warp(value);
  if (lane == 0)
    shared[warp] = value;
  __syncthreads(); // all warps' sums are there
  return shared[0] + shared[1] + shared[2] + shared[3];
}

extern "C" __global__ void parts(const float *x, float *part, int n) {
  __shared__ float shared[4];
  float sum = 0;
  for (int at = (int)blockIdx.x * 128 + (int)threadIdx.x; at < n; at += (int)gridDim.x * 128)
    sum += x[at];
  sum = over_block(sum, shared);
  if (threadIdx.x == 0)
    part[blockIdx.x] = sum;
}

// The sum, and behind it each part's share of it, the last one first.
extern "C" __global__ void total(const float *part, float *out, int blocks) {
  __shared__ float shared[4], kept[128];
  float mine = 0;
  if ((int)threadIdx.x < blocks)
    mine = part[threadIdx.x];
  const float sum = over_block(mine, shared);
  if (threadIdx.x == 0)
    out[0] = sum;
  kept[threadIdx.x] = mine / sum;
  __syncthreads(); // `kept` is whole
  const int from = 127 - (int)threadIdx.x;
  if (from < blocks)
    out[blocks - from] = kept[from];
}
