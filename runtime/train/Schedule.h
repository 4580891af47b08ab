#pragma once
// Learning-rate schedules, as Hugging Face's: the factor of the base rate for each update.

#include "runtime/Result.h"

#include <cstdint>
#include <string_view>

namespace lorac::train {

enum class ScheduleKind { Constant, Linear, Cosine };
Result<ScheduleKind> parseSchedule(std::string_view name);

/// Factor for update `step` (from 0) of `total`. With warm-up it is step/warmup, so the first
/// update has rate 0 (as in transformers' get_*_schedule_with_warmup); `constant` with warm-up is
/// transformers' constant_with_warmup.
struct Schedule {
  ScheduleKind kind = ScheduleKind::Cosine;
  int64_t warmupSteps = 0;
  int64_t totalSteps = 1;

  double factor(int64_t step) const;
};

/// warmup_ratio as transformers reads it: ceil(ratio * total).
int64_t warmupFromRatio(double ratio, int64_t totalSteps);

} // namespace lorac::train
