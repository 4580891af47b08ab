#include "runtime/train/ParamGroups.h"

namespace lorac::train {

std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio) {
  std::vector<ParamGroup> groups;
  for (const std::string &name : plan.groups())
    groups.push_back({name, name == "lora_B" ? loraPlusRatio : 1.0});
  return groups;
}

} // namespace lorac::train
