#pragma once
// Learning-rate schedules, as Hugging Face's: the factor of the base rate for each update.

#include "dsl/Spec.h"

#include <cstdint>

namespace lorac::train {

using dsl::ScheduleName;

/// How the rate falls, which part of it stays at the end (transformers' min_lr_rate), and how many
/// waves a cosine has (transformers' num_cycles).
struct ScheduleCurve {
  ScheduleName kind;
  double floor;
  double cycles;
  ScheduleCurve(ScheduleName kind, double floor = 0, double cycles = 0.5)
      : kind(kind), floor(floor), cycles(cycles) {}
  bool operator==(const ScheduleCurve &) const = default;
};

/// Factor for update `step` (from 0) of `total`. With warm-up it is step/warmup, so the first
/// update has rate 0 (as in transformers' get_*_schedule_with_warmup); `constant` with warm-up is
/// transformers' constant_with_warmup. With a floor the cosine is its cosine_with_min_lr, and
/// linear falls to the floor in the same way.
struct Schedule {
  ScheduleCurve curve = ScheduleName::Cosine;
  int64_t warmupSteps = 0;
  int64_t totalSteps = 1;

  double factor(int64_t step) const;
};

/// warmup_ratio as transformers reads it: ceil(ratio * total).
int64_t warmupFromRatio(double ratio, int64_t totalSteps);

} // namespace lorac::train
