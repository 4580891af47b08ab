#pragma once
// AdaLoRA's budget: how many triplets (row of A, entry of E, column of B) of all modules together
// may be alive after each step. As PEFT's RankAllocator (tuners/adalora/layer.py); steps count from
// 0, and the allocation of a step follows its update.

#include "runtime/Result.h"

#include <cstdint>

namespace lorac::train {

struct RankSchedule {
  int64_t initBudget = 0;   ///< b0: the initial ranks of all modules, added
  int64_t targetBudget = 0; ///< bT
  int64_t tinit = 0;        ///< the last step of the first phase, in which nothing is masked
  int64_t tfinal = 0;       ///< steps of the final phase, in which the ranks stand
  int64_t deltaT = 1;       ///< steps between allocations
  int64_t totalSteps = 0;

  /// Where the final phase begins, with the last allocation. With tfinal = 0 no step of the run.
  int64_t finalStep() const { return totalSteps - tfinal; }
  bool isFinal(int64_t step) const { return step >= finalStep(); }

  /// Whether the importance averages take in this step; in the final phase scores are frozen.
  bool updatesImportance(int64_t step) const { return step < finalStep(); }

  /// Whether ranks are allocated anew after this step: every multiple of deltaT between the first
  /// phase and the last, and the step that begins the last.
  bool allocates(int64_t step) const;

  /// The first step after `step` that allocates; 0: none comes.
  int64_t nextAllocation(int64_t step) const;

  /// The part of the budget phase that is over after this step: 0 … 1.
  double progress(int64_t step) const;

  /// Whether ranks can fall in a run of so many steps; the error has the numbers (a run's steps may
  /// be changed where the spec's were checked).
  Result<void> check() const;

  /// int((b0 - bT)·(1 - progress)³ + bT), as PEFT rounds it.
  int64_t budgetAt(double progress) const;
  int64_t budget(int64_t step) const { return budgetAt(progress(step)); }
};

} // namespace lorac::train
