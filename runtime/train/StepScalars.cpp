#include "runtime/train/StepScalars.h"

namespace lorac::train {

std::vector<float> stepScalars(const Plan &plan, const std::vector<ParamGroup> &groups, double rate,
                               int64_t update) {
  if (!plan.optimizer)
    return {};
  std::vector<float> out(size_t(plan.optimizer->floats - normFloats));
  for (const PlanScalar &scalar : plan.optimizer->scalars) {
    const auto put = [&](int64_t place, double rateHere) {
      out[size_t(place - normFloats)] = float(scalar.formula.evaluate(rateHere, double(update)));
    };
    if (scalar.byGroup == 0)
      put(scalar.at, rate);
    for (size_t g = 0; scalar.byGroup > 0 && g < groups.size(); ++g)
      put(scalar.at + int64_t(g) * scalar.byGroup, rate * groups[g].lrRatio);
  }
  return out;
}

} // namespace lorac::train
