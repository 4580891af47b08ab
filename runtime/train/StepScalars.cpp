#include "runtime/train/StepScalars.h"

namespace lorac::train {

std::vector<float> stepScalars(const PlanScalars &of, const std::vector<ParamGroup> &groups,
                               double rate, int64_t update) {
  std::vector<float> out(size_t(of.floats));
  for (const PlanScalar &scalar : of.list) {
    const auto put = [&](int64_t place, const ParamGroup &group) {
      out[size_t(place)] =
          float(scalar.formula.evaluate(rate * group.lrRatio, double(update), group.weightDecay));
    };
    if (scalar.byGroup == 0)
      put(scalar.at, {});
    for (size_t g = 0; scalar.byGroup > 0 && g < groups.size(); ++g)
      put(scalar.at + int64_t(g) * scalar.byGroup, groups[g]);
  }
  return out;
}

} // namespace lorac::train
