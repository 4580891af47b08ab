#pragma once
// The regions of a plan's arena: read, held against each other, and the places that the runtime
// itself writes or reads held against the arena.

#include "runtime/train/JsonFields.h"
#include "runtime/train/Plan.h"

#include <vector>

namespace lorac::train {

/// `in` is plan.arena. An error there unless names are unique, one region holds the params, one the
/// grads, at most one what is unfolded, all but the last are as long as the params, and they lie in
/// the order of the list.
std::vector<PlanRegion> readRegions(const Fields &in);

/// An error at `arena` unless importance and unfolded are there with AdaLoRA and only with it, and
/// unfolded is as long as all lora_B together.
void checkRankRegions(const Fields &arena, const Plan &plan);

/// An error at `arena` unless each state of 8 bits has its regions, as long as its parameters ask
/// for (Plan::statePlaces), and states of rows and columns are as many.
void checkStoredStates(const Fields &arena, const Plan &plan);

/// An error at `root` unless every buffer that the runtime itself touches lies inside the arena and
/// those that it writes do not overlap.
void checkExtents(const Plan &plan, const Fields &root);

} // namespace lorac::train
