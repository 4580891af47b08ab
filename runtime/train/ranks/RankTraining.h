#pragma once
// AdaLoRA within a run: after each update the importance takes it in, and where the schedule says
// so ranks are allocated anew (docs/adalora.md). Order as PEFT's: parameters after the update,
// gradients before.

#include "runtime/train/Backend.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/ranks/Importance.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

class RankTraining {
public:
  /// Error: a schedule in which ranks cannot fall, or params that are no triplets.
  static Result<RankTraining> create(const Plan &plan, const AdaLoraConfig &config,
                                     int64_t totalSteps);

  /// After the update of `step` (from 0), whose gradients were multiplied by `clip`; zeroes what
  /// is masked. What an allocation decided, where there was one.
  Result<std::optional<Allocation>> afterUpdate(Backend &backend, float clip, int64_t step);

  const RankAllocator &allocator() const { return ranks; }
  /// By the allocator's modules.
  const std::vector<std::string> &modules() const { return names; }
  Result<void> restore(RankState state) { return ranks.restore(std::move(state)); }

private:
  RankTraining(const RankSchedule &schedule, RankAllocator allocator)
      : schedule(schedule), ranks(std::move(allocator)) {}

  RankSchedule schedule;
  RankAllocator ranks;
  Importance importance;
  std::vector<std::string> names;
};

} // namespace lorac::train
