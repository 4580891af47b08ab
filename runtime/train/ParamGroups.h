#pragma once
// Parameters with one learning rate.

#include "runtime/train/Plan.h"

#include <string>
#include <vector>

namespace lorac::train {

struct ParamGroup {
  std::string name;
  double lrRatio = 1; ///< LoRA+: of lora_B
};

/// The plan's groups in its order: lora_A, lora_B, ... `loraPlusRatio` is the rate of lora_B over
/// that of lora_A (1: LoRA).
std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio = 1);

} // namespace lorac::train
