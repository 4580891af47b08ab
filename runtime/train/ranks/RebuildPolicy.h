#pragma once
// When dead triplets are worth a new program. A function of the plan and of what died alone, never
// of a clock: the same run changes its programs at the same steps on every machine and after every
// resume.
//
// A dead triplet of a module costs 6·(in + out) operations a token (x·Aᵀ, t·Bᵀ, and two products
// each for dA, dB and dX). Their cost since the last program adds up; a new one is asked for where
// that, and what it will be until the next allocation, reaches the cost of a build: so builds never
// cost more than what was lost without them. Once the ranks stand, a new program is asked for in
// any case, if a step is left to run it: memory falls too, and no later one will come.

#include "runtime/train/Plan.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <string>

namespace lorac::train {

/// What a checkpoint keeps.
struct RebuildState {
  double lost = 0;       ///< seconds of the processor for dead triplets since the last program …
  double aStep = 0;      ///< … and what each step adds now
  int64_t countedTo = 0; ///< steps
};

class RebuildPolicy {
public:
  /// Steps from an allocation to the swap.
  static constexpr int64_t swapAfter = 8;

  /// `tokens` of a step; `always`: at every allocation where something died.
  RebuildPolicy(bool always, int64_t tokens) : always(always), tokens(tokens) {}

  struct Decision {
    bool rebuild = false;
    std::string why; ///< for people
  };
  /// After the allocation of `step`, by a program of `plan` that stores `stored` where `kept` would
  /// do. `next`: the step of the next allocation; 0: the ranks stand. `total`: steps of the run.
  Decision decide(const Plan &plan, const RankPattern &stored, const RankPattern &kept,
                  int64_t step, int64_t next, int64_t total);
  /// A new program has taken over after so many steps.
  void tookOver(int64_t steps) { now = {0, 0, steps}; }

  const RebuildState &state() const { return now; }
  void restore(const RebuildState &state) { now = state; }

private:
  bool always;
  int64_t tokens;
  RebuildState now;
};

} // namespace lorac::train
