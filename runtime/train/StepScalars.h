#pragma once
// What a program is told: the plan's formulas at this step's rate.

#include "runtime/train/ParamGroups.h"
#include "runtime/train/Plan.h"

#include <cstdint>
#include <vector>

namespace lorac::train {

/// The floats of a program's io, `of.floats` of them. `groups` are those of the plan, `rate` is the
/// step's learning rate, `update` counts from 1. Each is computed in float64 and rounded to float32
/// once; a place that no formula has is 0.
std::vector<float> stepScalars(const PlanScalars &of, const std::vector<ParamGroup> &groups,
                               double rate, int64_t update);
/// Those of the optimizer; none where nothing is trained.
std::vector<float> stepScalars(const Plan &plan, const std::vector<ParamGroup> &groups, double rate,
                               int64_t update);

} // namespace lorac::train
