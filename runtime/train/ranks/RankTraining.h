#pragma once
// AdaLoRA within a run: after each update the importance takes it in, and where the schedule says
// so ranks are allocated anew (docs/adalora.md). Order as PEFT's: parameters after the update,
// gradients before.

#include "runtime/train/Backend.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/ranks/PruningPace.h"
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

  /// After the update of `step` (from 0); zeroes what is masked. `scalars`: of takeImportance. What
  /// an allocation decided, where there was one.
  Result<std::optional<Allocation>> afterUpdate(Backend &backend, const std::vector<float> &scalars,
                                                int64_t step);

  RankAllocator &allocator() { return ranks; }
  const RankAllocator &allocator() const { return ranks; }
  /// The step of the next allocation after `step`; 0: the ranks stand.
  int64_t nextAllocation(int64_t step) const { return schedule.nextAllocation(step); }
  /// By the allocator's modules.
  const std::vector<std::string> &modules() const { return names; }
  Result<void> restore(RankState state) { return ranks.restore(std::move(state)); }

  /// A held-out loss, measured after the update of `step`: with [adapter.adalora.plateau] it sets
  /// the pace of pruning.
  void observe(int64_t step, double loss) {
    if (pace)
      pace->observe(step, loss);
  }
  /// Null without a plateau.
  const PruningPaceState *paceState() const { return pace ? &pace->state() : nullptr; }
  Result<void> restorePace(const PruningPaceState &state) {
    return pace ? pace->restore(state) : Result<void>();
  }

private:
  RankTraining(const RankSchedule &schedule, RankAllocator allocator)
      : schedule(schedule), ranks(std::move(allocator)) {}

  RankSchedule schedule;
  std::optional<PruningPace> pace;
  RankAllocator ranks;
  std::vector<std::string> names;
  bool drift = false; ///< zeros of dead triplets do not stay
};

} // namespace lorac::train
