#pragma once
// AdamW over the flat adapter region, and the global gradient norm. The numbers are those of
// torch.optim.AdamW in float32; threads change no bit: sums have a fixed partition, updates are
// elementwise.

#include "runtime/abi.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ThreadPool.h"

#include <string>
#include <vector>

namespace lorac::train {

/// Parameters with one learning rate; a span of floats for each tensor.
struct ParamGroup {
  std::string name;
  double lrRatio = 1; ///< LoRA+: of lora_B
  struct Span {
    int64_t offset, count;
  };
  std::vector<Span> spans;
};

/// Groups in the plan's order: lora_A, lora_B, ... `loraPlusRatio` is the rate of lora_B over that
/// of lora_A (1: LoRA).
std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio = 1);

struct AdamW {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;

  /// The scalars of one update, rounded to float where torch hands them to its kernels; `update`
  /// counts from 1 (bias correction). Norm and clipping factor are left as without clipping.
  LoracUpdate scalars(const std::vector<ParamGroup> &groups, double learningRate, int64_t update,
                      double maxNorm) const;
};

/// One update on the CPU. Per element, as torch:
///   p -= lr*wd*p;  m += (g - m)(1 - beta1);  v = beta2*v + (1 - beta2) g²
///   p -= lr/(1 - beta1^t) * m / (sqrt(v)/sqrt(1 - beta2^t) + eps)       with g = gradient * clip
void applyUpdate(ThreadPool &pool, const std::vector<ParamGroup> &groups, const LoracUpdate &update,
                 float *params, const float *grads, float *expAvg, float *expAvgSq);

/// sqrt(Σ g²): squares summed in double over blocks of 4096, then over blocks in order.
float gradNorm(ThreadPool &pool, const float *grads, int64_t count);

/// torch.nn.utils.clip_grad_norm_: min(1, maxNorm / (norm + 1e-6)); maxNorm 0: no clipping.
float clipFactor(float norm, double maxNorm);

} // namespace lorac::train
