#pragma once
// The global gradient norm on the CPU; threads change no bit: sums have a fixed partition.

#include "runtime/train/ThreadPool.h"

#include <cstdint>

namespace lorac::train {

/// sqrt(Σ g²): squares summed in double over blocks of 4096, then over blocks in order.
float gradNorm(ThreadPool &pool, const float *grads, int64_t count);

/// torch.nn.utils.clip_grad_norm_: min(1, maxNorm / (norm + 1e-6)); maxNorm 0: no clipping.
float clipFactor(float norm, double maxNorm);

} // namespace lorac::train
