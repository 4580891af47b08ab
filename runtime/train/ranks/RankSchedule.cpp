#include "runtime/train/ranks/RankSchedule.h"

#include <cmath>

namespace lorac::train {

bool RankSchedule::allocates(int64_t step) const {
  if (step <= tinit || step > finalStep())
    return false;
  return step == finalStep() || step % deltaT == 0;
}

double RankSchedule::progress(int64_t step) const {
  if (step <= tinit)
    return 0;
  if (step >= finalStep())
    return 1;
  return double(step - tinit) / double(finalStep() - tinit);
}

int64_t RankSchedule::budgetAt(double progress) const {
  // pow, not a product of three: Python's ** calls it, and the last bit decides an int().
  double cube = std::pow(1 - progress, 3.0);
  return int64_t(double(initBudget - targetBudget) * cube + double(targetBudget));
}

} // namespace lorac::train
