#include "runtime/train/ranks/RankSchedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

bool RankSchedule::allocates(int64_t step) const {
  if (step <= tinit || step > finalStep())
    return false;
  return step == finalStep() || step % deltaT == 0;
}

int64_t RankSchedule::nextAllocation(int64_t step) const {
  const int64_t multiple = (std::max(step, tinit) / deltaT + 1) * deltaT;
  const int64_t next = std::min(multiple, finalStep());
  return next > step && next < totalSteps ? next : 0;
}

Result<void> RankSchedule::check() const {
  if (tinit >= finalStep())
    return Error{
        fmt::format("no step is left in which AdaLoRA's ranks fall: tinit + tfinal < steps "
                    "does not hold, {} + {} = {} against {}; train longer",
                    tinit, tfinal, tinit + tfinal, totalSteps),
        Exit::Usage};
  const int64_t first = (tinit / deltaT + 1) * deltaT;
  if (tfinal == 0 && first >= totalSteps)
    return Error{fmt::format("AdaLoRA's ranks are never allocated: the first multiple of deltaT = "
                             "{} behind tinit = {} is step {}, and the last step is {}; train "
                             "longer",
                             deltaT, tinit, first, totalSteps - 1),
                 Exit::Usage};
  return {};
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
