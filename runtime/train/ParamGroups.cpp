#include "runtime/train/ParamGroups.h"

namespace lorac::train {

std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio,
                                   const WeightDecays &decays) {
  std::vector<ParamGroup> groups;
  for (const AdapterPart part : plan.groups()) {
    const bool ofB = part == AdapterPart::B || part == AdapterPart::Magnitude;
    groups.push_back({part, ofB ? loraPlusRatio : 1.0, ofB ? decays.ofB : decays.ofA});
  }
  return groups;
}

} // namespace lorac::train
