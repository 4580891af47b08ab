#pragma once
// A plan's parameters seen as triplets: lora_A, lora_B and lora_E of each module.

#include "runtime/Result.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>
#include <vector>

namespace lorac::train {

/// Where one module's triplets lie in a flat region; offsets in floats.
struct TripletLayout {
  int64_t a = 0, b = 0, e = 0;       ///< A [rank, in], B [out, rank], E [rank]
  int64_t rank = 0, in = 0, out = 0; ///< rank: as stored; 0: the module has no tensors
};

/// Where each module's triplets lie, beside `modules`; rank 0 for one that has no parameters left.
/// Error: a module with a part of them, or with ranks that differ.
Result<std::vector<TripletLayout>> tripletLayouts(const std::vector<PlanParam> &params,
                                                  const std::vector<std::string> &modules);

} // namespace lorac::train
