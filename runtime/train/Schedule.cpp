#include "runtime/train/Schedule.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

double Schedule::factor(int64_t step) const {
  if (step < warmupSteps)
    return double(step) / double(std::max<int64_t>(1, warmupSteps));
  const double rest = double(std::max<int64_t>(1, totalSteps - warmupSteps));
  double factor = 1;
  if (curve.kind == ScheduleName::Linear)
    factor = std::max(0.0, double(totalSteps - step) / rest);
  else if (curve.kind == ScheduleName::Cosine)
    factor = std::max(
        0.0, 0.5 * (1.0 + std::cos(M_PI * curve.cycles * 2 * (double(step - warmupSteps) / rest))));
  return curve.floor > 0 ? factor * (1 - curve.floor) + curve.floor : factor;
}

int64_t warmupFromRatio(double ratio, int64_t totalSteps) {
  return int64_t(std::ceil(ratio * double(totalSteps)));
}

} // namespace lorac::train
