#include "runtime/train/StepScalars.h"

namespace lorac::train {

std::vector<float> stepScalars(const PlanScalars &of, const std::vector<ParamGroup> &groups,
                               double rate, int64_t update) {
  std::vector<float> out(size_t(of.floats));
  for (const PlanScalar &scalar : of.list) {
    const auto put = [&](int64_t place, double rateHere) {
      out[size_t(place)] = float(scalar.formula.evaluate(rateHere, double(update)));
    };
    if (scalar.byGroup == 0)
      put(scalar.at, rate);
    for (size_t g = 0; scalar.byGroup > 0 && g < groups.size(); ++g)
      put(scalar.at + int64_t(g) * scalar.byGroup, rate * groups[g].lrRatio);
  }
  return out;
}

} // namespace lorac::train
