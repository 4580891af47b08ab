#pragma once
// torch.optim.AdamW and clip_grad_norm_ in float32, as the runtime did them before they were
// programs: what those are held against.

#include "runtime/train/ParamGroups.h"
#include "runtime/train/Plan.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lorac::train::test {

struct AdamW {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;

  /// The scalars of one update, rounded to float where torch hands them to its kernels.
  struct Scalars {
    float oneMinusBeta1, beta2, oneMinusBeta2, correction2Sqrt, eps;
    std::vector<float> decay, minusStep; ///< by group

    /// In the order of fakeOptimizerJson.
    std::vector<float> flat() const {
      std::vector<float> out = {oneMinusBeta1, beta2, oneMinusBeta2, correction2Sqrt, eps};
      for (size_t g = 0; g < decay.size(); ++g)
        out.insert(out.end(), {decay[g], minusStep[g]});
      return out;
    }
  };
  Scalars scalars(const std::vector<ParamGroup> &groups, double learningRate,
                  int64_t update) const {
    const double correction1 = 1.0 - std::pow(beta1, double(update));
    const double correction2 = 1.0 - std::pow(beta2, double(update));
    Scalars out{float(1.0 - beta1),
                float(beta2),
                float(1.0 - beta2),
                float(std::sqrt(correction2)),
                float(eps),
                {},
                {}};
    for (const ParamGroup &group : groups) {
      const double rate = learningRate * group.lrRatio;
      out.decay.push_back(float(1.0 - rate * weightDecay));
      out.minusStep.push_back(float(-(rate / correction1)));
    }
    return out;
  }
};

/// One update. Per element, as torch:
///   p -= lr*wd*p;  m += (g - m)(1 - beta1);  v = beta2*v + (1 - beta2) g²
///   p -= lr/(1 - beta1^t) * m / (sqrt(v)/sqrt(1 - beta2^t) + eps)       with g = gradient * clip
inline void applyUpdate(const std::vector<PlanSpan> &spans, const AdamW::Scalars &s, float clip,
                        float *params, const float *grads, float *expAvg, float *expAvgSq) {
  for (const PlanSpan &span : spans)
    for (int32_t i = span.offset; i < span.offset + span.count; ++i) {
      float g = grads[i] * clip;
      float decayed = params[i] * s.decay[size_t(span.group)];
      float mean = expAvg[i] + s.oneMinusBeta1 * (g - expAvg[i]);
      float square = expAvgSq[i] * s.beta2 + s.oneMinusBeta2 * g * g;
      expAvg[i] = mean;
      expAvgSq[i] = square;
      float denominator = std::sqrt(square) / s.correction2Sqrt + s.eps;
      params[i] = decayed + s.minusStep[size_t(span.group)] * mean / denominator;
    }
}

/// sqrt(Σ g²), summed in double, in order.
inline float gradNorm(const std::vector<float> &grads) {
  double sum = 0;
  for (float g : grads)
    sum += double(g) * double(g);
  return float(std::sqrt(sum));
}

/// min(1, maxNorm / (norm + 1e-6)); maxNorm 0: no clipping.
inline float clipFactor(float norm, double maxNorm) {
  return maxNorm <= 0 ? 1.0f : std::min(1.0f, float(maxNorm) / (norm + 1e-6f));
}

} // namespace lorac::train::test
