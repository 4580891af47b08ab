#pragma once
// What is asked of a plan besides its keys and their bounds (PlanSchema.h): numbers that have to
// fit each other. A misfit is an error at the first argument.

#include "runtime/train/JsonFields.h"
#include "runtime/train/Plan.h"

#include <set>
#include <string>
#include <vector>

namespace lorac::train {

/// The parts are those that the weight is packed into.
void checkParts(const Fields &in, const PlanWeight &weight, const Plan &plan);
/// It lies inside the region of params, and its shape has its rank.
void checkParam(const Fields &in, const PlanParam &param, const PlanRegion &params);
/// A module has a part once, and no two parts lie over each other.
void checkParams(const Fields &root, const Plan &plan);
/// With AdaLoRA each parameter is of a module whose ranks fall, at most at the rank that it began
/// with.
void checkRanks(const Fields &root, const Plan &plan);
/// A part without a rank, as DoRA's magnitudes, is a number for each row of the lora_B beside it,
/// and beside each; there is a program `initialize` where a part begins by one.
void checkRowParts(const Fields &root, const Plan &plan);
/// Of a kind that there is, with as many numbers as that has.
void checkTable(const Fields &in, const PlanTable &table, const Plan &plan);

/// Floats of a program's io, and which of them have a scalar.
struct ScalarPlaces {
  int64_t floats, groups;
  std::vector<bool> taken;
  ScalarPlaces(int64_t floats, const Plan &plan)
      : floats(floats), groups(int64_t(plan.groups().size())), taken(size_t(floats)) {}
};
/// Its places are there, and no other's.
void checkScalar(const Fields &in, const PlanScalar &scalar, ScalarPlaces &places);

// PlanRegions.cpp: the arena.

/// What the regions before have.
struct RegionOrder {
  /// Names of tensors in a checkpoint begin with them, and AdaLoRA's parameters with `param`.
  std::set<std::string> names = {"", "param"};
  int64_t end = 0;
};
/// The region's name is its own, it lies behind those before, and only a state's numbers are no
/// floats.
void checkRegion(const Fields &in, const PlanRegion &region, RegionOrder &order);
/// One region holds the params, one the grads, at most one what is unfolded, and all but the last
/// are as long as the params.
void checkRegions(const Fields &arena, const Plan &plan);
/// Importance and unfolded are there with AdaLoRA and only with it, and unfolded is as long as all
/// lora_B together.
void checkRankRegions(const Fields &root, const Plan &plan);
/// Each state of 8 bits has its regions, as long as its parameters ask for (Plan::statePlaces).
void checkStoredStates(const Fields &root, const Plan &plan);
/// Every buffer that the runtime itself touches lies inside the arena, and those that it writes do
/// not overlap.
void checkExtents(const Fields &root, const Plan &plan);

// LaunchCheck.cpp: each launch against what its kernel takes. One that brings other buffers or
// scalars would read or write where nobody looks.

/// Buffers are as many, of the kinds, inside the arena as far as the kernel goes, scalars as many
/// and within their bounds, and tiles those of the rows.
void checkLaunch(const Fields &in, const PlanLaunch &launch, const Plan &plan);
/// Each launch of a family that goes by a table gets the runtime's (io.update_spans, io.triplets
/// and what lies beside them), and goes over what is in it: another place's numbers would be taken
/// for offsets.
void checkTables(const Fields &programs, const Plan &plan);

} // namespace lorac::train
