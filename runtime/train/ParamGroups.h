#pragma once
// Parameters with one learning rate.

#include "runtime/train/Plan.h"

#include <vector>

namespace lorac::train {

struct ParamGroup {
  AdapterPart part = AdapterPart::A;
  double lrRatio = 1; ///< LoRA+
};

/// The plan's groups in its order: lora_A, lora_B, ... `loraPlusRatio` is the rate of lora_B over
/// that of lora_A (1: LoRA); the others have one of the two (AdapterLayout.h).
std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio = 1);

} // namespace lorac::train
