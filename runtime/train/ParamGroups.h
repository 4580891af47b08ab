#pragma once
// Parameters with one learning rate and one weight decay.

#include "runtime/train/Plan.h"

#include <vector>

namespace lorac::train {

struct ParamGroup {
  AdapterPart part = AdapterPart::A;
  double lrRatio = 1; ///< LoRA+
  double weightDecay = 0;
};

/// Of lora_B, with DoRA's magnitudes, and of what is left.
struct WeightDecays {
  double ofA = 0, ofB = 0;
};

/// The plan's groups in its order: lora_A, lora_B, ... `loraPlusRatio` is the rate of lora_B over
/// that of lora_A (1: LoRA); DoRA's magnitudes have that of lora_B, as in PEFT, AdaLoRA's lora_E
/// that of lora_A.
std::vector<ParamGroup> makeGroups(const Plan &plan, double loraPlusRatio = 1,
                                   const WeightDecays &decays = {});

} // namespace lorac::train
