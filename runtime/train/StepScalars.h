#pragma once
// What programs are told: the plan's formulas at this step's rate.

#include "runtime/train/ParamGroups.h"
#include "runtime/train/Plan.h"

#include <cstdint>
#include <vector>

namespace lorac::train {

/// The floats of the program's io, `of.floats` of them. `groups` are those of the plan, `rate` is
/// the step's learning rate, `update` counts from 1. Each is computed in float64 and rounded to
/// float32 once; a place that no formula has is 0.
std::vector<float> stepScalars(const PlanScalars &of, const std::vector<ParamGroup> &groups,
                               double rate, int64_t update);

} // namespace lorac::train
