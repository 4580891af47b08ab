#pragma once
// AdaLoRA's importance averages in float32, as the runtime took them before they were a program:
// what that is held against.

#include "runtime/train/ranks/Importance.h"

#include <cmath>
#include <span>

namespace lorac::train::test {

struct Importance {
  double beta1 = 0.85, beta2 = 0.85;

  /// Takes in one step. `clip` is what the update multiplied the gradients by.
  void update(std::span<const TripletLayout> modules, const float *params, const float *grads,
              float clip, float *sensitivity, float *uncertainty) const {
    const float keep1 = float(beta1), take1 = float(1 - beta1);
    const float keep2 = float(beta2), take2 = float(1 - beta2);
    for (const TripletLayout &module : modules)
      for (auto [offset, count] : {std::pair{module.a, module.rank * module.in},
                                   {module.b, module.out * module.rank},
                                   {module.e, module.rank}})
        for (int64_t i = offset; i < offset + count; ++i) {
          const float importance = std::fabs(params[i] * (grads[i] * clip));
          const float kept = keep1 * sensitivity[i], taken = take1 * importance;
          sensitivity[i] = kept + taken;
          const float doubtKept = keep2 * uncertainty[i];
          const float doubt = take2 * std::fabs(importance - sensitivity[i]);
          uncertainty[i] = doubtKept + doubt;
        }
  }
};

} // namespace lorac::train::test
