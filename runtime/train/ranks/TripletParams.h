#pragma once
// A plan's parameters seen as triplets: lora_A, lora_B and lora_E of each module.

#include "runtime/Result.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/Importance.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>
#include <vector>

namespace lorac::train {

/// Where each module's triplets lie, beside `modules`; rank 0 for one that has no parameters left.
/// Error: a module with a part of them, or with ranks that differ.
Result<std::vector<TripletLayout>> tripletLayouts(const std::vector<PlanParam> &params,
                                                  const std::vector<std::string> &modules);

/// Zeroes E of `places`: what RankAllocator::masked asks for, in the parameters.
void zeroE(float *region, const std::vector<TripletLayout> &layouts, const TripletSets &places);

/// Zeroes whole triplets: what died, in each region with the parameters' layout.
void zeroWhole(float *region, const std::vector<TripletLayout> &layouts, const TripletSets &places);

} // namespace lorac::train
