#pragma once
// From dead triplets to a smaller program: asked for after an allocation, built while the old one
// goes on, put in place a fixed number of steps later. The ranks themselves are the allocator's: a
// build that is late or fails changes none.

#include "runtime/train/Clock.h"
#include "runtime/train/Session.h"
#include "runtime/train/ranks/RankTraining.h"
#include "runtime/train/ranks/RebuildPolicy.h"
#include "runtime/train/ranks/Recompiler.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

/// What became of one request; the run's manifest has them all.
struct ProgramRecord {
  int64_t step = 0; ///< steps done before the swap
  int64_t ranksBefore = 0, ranksAfter = 0;
  int kernelsBuilt = 0, kernelsFromCache = 0;
  bool fromCache = false; ///< the whole program
  double hiddenMs = 0, waitedMs = 0;
  uint64_t plannedBefore = 0, plannedAfter = 0, residentBefore = 0, residentAfter = 0;
  std::string failure; ///< "": it took over
};

/// What a checkpoint keeps besides the allocator's state.
struct ProgramSwapState {
  int64_t swapStep = 0; ///< of the request under way
  RankPattern live;     ///< at its decision
  RebuildState rebuild;
  std::vector<ProgramRecord> records;
};

class ProgramSwap {
public:
  /// `recompiler` null: no program is ever built (`--allow-fixed-ranks`), which the records say.
  ProgramSwap(Recompiler *recompiler, const RebuildPolicy &policy, int64_t total,
              const Clock &clock)
      : recompiler(recompiler), policy(policy), total(total), clock(clock) {}

  /// After the allocation of `step`; what was decided, in words.
  std::string decide(int64_t step, RankTraining &ranks, const Session &session);

  bool isDue(int64_t stepsDone) const { return build && stepsDone >= now.swapStep; }
  /// Waits for the build and puts it in place; null where a signal asked to stop meanwhile: the
  /// request stands and goes into the checkpoint.
  const ProgramRecord *swap(int64_t stepsDone, RankTraining &ranks, Session &session);
  /// Set where the new program failed when the old one was gone already: the run ends.
  const std::optional<Error> &lost() const { return end; }
  /// What is resident once the program that took over last has run; its record.
  const ProgramRecord &measured(const MemoryUse &memory) {
    now.records.back().residentAfter = memory.resident;
    return now.records.back();
  }
  /// Live ranks at the decision for the last swap.
  const RankPattern &live() const { return now.live; }

  /// The program of a checkpoint whose allocator stores `ranks`, into the session; its build under
  /// way begins anew.
  Result<void> resume(const RankState &ranks, const ProgramSwapState &state, Session &session);

  ProgramSwapState state() const;
  const std::vector<ProgramRecord> &records() const { return now.records; }

private:
  Result<BuiltProgram> wait(bool &stopped);

  Recompiler *recompiler;
  RebuildPolicy policy;
  int64_t total;
  const Clock &clock;
  ProgramSwapState now;
  std::unique_ptr<ProgramBuild> build;
  std::optional<Error> end;
};

} // namespace lorac::train
