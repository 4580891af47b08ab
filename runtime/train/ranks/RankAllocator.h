#pragma once
// Which triplets of which module are alive: AdaLoRA's allocation, in four modes (docs/adalora.md).
//
// A triplet is alive (it is in the update), masked (its E is set to 0, but it is trained on and may
// come back) or dead (removed for ever). These sets are the algorithm; what the program at hand
// still stores is another matter: one that has not been replaced yet stores dead triplets, whose
// numbers are all zero. So a late or failed build changes no rank.
//
// Triplets are named twice: by their first index, 0 … initial rank - 1, for ever; and by their
// place among those that the program stores, which are the first indices of `stored`, ascending.

#include "dsl/Spec.h"
#include "runtime/Result.h"
#include "runtime/train/ranks/RankSchedule.h"

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace lorac::train {

using dsl::PruneMode;

/// One module's part.
struct RankBounds {
  int64_t initRank = 0;
  int64_t minRank = 0; ///< so many stay alive, whatever the threshold
  int64_t maxRank = 0; ///< no more stay alive from the first allocation on
};

enum class Triplet : uint8_t { Alive, Masked, Dead };

/// By module: places or indices of triplets, ascending.
using TripletSets = std::vector<std::vector<int32_t>>;
/// By module: a rank.
using RankPattern = std::vector<int64_t>;

int64_t totalRank(const RankPattern &ranks);

/// All that a checkpoint keeps of the allocator.
struct RankState {
  std::vector<std::vector<Triplet>> triplets; ///< by module, by first index
  TripletSets stored;                         ///< first indices that the program stores
  bool requested = false;                     ///< a smaller program has been asked for …
  TripletSets next;                           ///< … that stores these
};

/// What one allocation decided.
struct Allocation {
  int64_t budget = 0;
  float threshold = 0; ///< -inf: the dead alone are more than the budget asks to leave out
  TripletSets died;    ///< places in the program's storage of those that died now
  bool anyDied() const;
};

class RankAllocator {
public:
  /// All triplets alive and stored. The schedule's initBudget is that of `modules`.
  RankAllocator(const RankSchedule &schedule, PruneMode mode, std::vector<RankBounds> modules);

  /// After the update of `step`, where schedule.allocates(step). `scores` as scoreTriplets gives
  /// them: of the stored triplets, module by module. What died must be zeroed at once in A, B, E,
  /// the moments and the importance averages.
  Allocation allocate(int64_t step, int64_t budget, std::span<const float> scores);

  /// Places whose E is to be zeroed after the update of `step` (and after its allocation): the
  /// masked ones, after an allocation and throughout the final phase; else none.
  TripletSets masked(int64_t step) const;

  RankPattern liveRanks() const;
  /// Alive and masked: what a program must store.
  RankPattern keptRanks() const;
  RankPattern storedRanks() const;
  /// By module, by first index: PEFT's rank_pattern.
  const std::vector<std::vector<Triplet>> &triplets() const { return now.triplets; }
  /// Places of the live triplets: what an export takes.
  TripletSets livePlaces() const { return placesOf(Triplet::Alive); }
  /// Of the dead ones that the program still stores.
  TripletSets deadPlaces() const { return placesOf(Triplet::Dead); }

  /// Remembers what is not dead now as what the next program stores, in place of an earlier
  /// request; its ranks.
  RankPattern request();
  bool requested() const { return now.requested; }
  /// The program asked for takes over: places in today's storage of the triplets that stay.
  TripletSets takeOver();
  /// Its build failed: today's program goes on.
  void cancelRequest() { now.requested = false, now.next.clear(); }

  const RankState &state() const { return now; }
  /// Exit::ForeignFile for a state that is not one of these modules.
  Result<void> restore(RankState state);

private:
  std::vector<float> spread(std::span<const float> scores, size_t module, size_t &taken) const;
  TripletSets keptIndices() const;
  TripletSets placesOf(Triplet state) const;

  RankSchedule schedule;
  PruneMode mode;
  std::vector<RankBounds> modules;
  RankState now;
};

} // namespace lorac::train
