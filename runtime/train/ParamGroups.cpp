#include "runtime/train/ParamGroups.h"

namespace lorac::train {

std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio) {
  std::vector<ParamGroup> groups;
  for (const AdapterPart part : plan.groups())
    groups.push_back({part, formats::layoutOf(part).hasRateOfB ? loraPlusRatio : 1.0});
  return groups;
}

} // namespace lorac::train
