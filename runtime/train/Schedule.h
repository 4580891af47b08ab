#pragma once
// Learning-rate schedules, as Hugging Face's: the factor of the base rate for each update.

#include "dsl/Spec.h"

#include <cstdint>
#include <string>

namespace lorac::train {

using dsl::ScheduleName;

/// How the rate falls, and which part of it stays at the end (transformers' min_lr_rate).
struct ScheduleCurve {
  ScheduleName kind;
  double floor;
  double power = 1;      ///< polynomial
  int64_t timescale = 0; ///< inverse_sqrt; 0: the warm-up's steps, or 10000
  /// warmup_stable_decay; 0: a tenth of all steps
  int64_t decaySteps = 0;
  dsl::DecayType decayType = dsl::DecayType::Cosine;
  ScheduleCurve(ScheduleName kind, double floor = 0) : kind(kind), floor(floor) {}
  explicit ScheduleCurve(const dsl::ScheduleSpec &spec);
  bool operator==(const ScheduleCurve &) const = default;

  /// Whether a run's number of steps changes its rates.
  bool needsTotal() const {
    return kind != ScheduleName::Constant && kind != ScheduleName::InverseSqrt;
  }
  /// Its name and what it is told, for people; the floor is left to them.
  std::string shown() const;
};

/// Factor for update `step` (from 0) of `total`. With warm-up it is step/warmup, so the first
/// update has rate 0 (as in transformers' get_*_schedule_with_warmup); `constant` with warm-up is
/// transformers' constant_with_warmup. With a floor the cosine is its cosine_with_min_lr, and
/// linear falls to the floor in the same way; polynomial's lr_end is the floor times the rate.
/// warmup_stable_decay has its warm-up above the floor too.
struct Schedule {
  ScheduleCurve curve = ScheduleName::Cosine;
  int64_t warmupSteps = 0;
  int64_t totalSteps = 1;

  double factor(int64_t step) const;

private:
  /// Behind the warm-up, from 1 to 0.
  double falling(int64_t step) const;
  double stableThenFalling(int64_t step) const;
};

/// warmup_ratio as transformers reads it: ceil(ratio * total).
int64_t warmupFromRatio(double ratio, int64_t totalSteps);

} // namespace lorac::train
