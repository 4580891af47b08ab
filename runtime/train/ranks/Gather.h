#pragma once
// Removing triplets from flat regions: parameters, states, importance averages, all by one index
// vector a module and in place (a second region would raise the peak).

#include "runtime/Result.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <span>
#include <string>
#include <vector>

namespace lorac::train {

/// One tensor before and after. Offsets in floats from the region's start.
struct TripletTensor {
  int64_t from = 0, to = 0;
  int64_t rows = 0, columns = 0; ///< before
  bool byColumn = false;         ///< lora_B: a triplet is a column; lora_A, lora_E: a row
  std::span<const int32_t> kept; ///< places that stay, ascending

  /// Floats that stay.
  int64_t left() const { return int64_t(kept.size()) * (byColumn ? rows : columns); }
};

/// What a program of fewer ranks takes over from one of more: `kept` stands beside `modules`. A
/// module at rank 0 has no parameters in `after`; one without adapters of triplets is left alone.
/// Error: the parameters of `after` are not those that stay. `kept` must outlive the result.
Result<std::vector<TripletTensor>> matchTensors(const std::vector<PlanParam> &before,
                                                const std::vector<PlanParam> &after,
                                                const std::vector<std::string> &modules,
                                                const TripletSets &kept);

/// Moves what stays to where it belongs; the rest of the first `count` floats becomes zero. The
/// region has room for what it held before and for `count`. Nothing is allocated where the
/// tensors keep their order.
void gatherTriplets(float *region, int64_t count, std::span<const TripletTensor> tensors);

} // namespace lorac::train
