#pragma once
// The parts of a packed weight and their bytes, from the layout that the runtime packs.

#include "compiler/dialect/LoraOps.h"

#include <string>
#include <vector>

namespace lorac {

struct WeightPart {
  std::string name;
  int64_t bytes;
};

/// Panels for the CPU's kernels, rows for a device's (docs/plan.md, docs/cuda.md).
enum class WeightLayout { Panels, Rows };

std::vector<WeightPart> weightParts(lora::WeightType type, WeightLayout layout);
int64_t weightBytes(lora::WeightType type, WeightLayout layout);

/// Bytes of all frozen weights.
int64_t frozenBytes(mlir::ModuleOp module, WeightLayout layout);
/// The same with the room from each part to the next, as the runtime lays them out
/// (train::Plan::partRoom).
int64_t frozenRoom(mlir::ModuleOp module, WeightLayout layout);

} // namespace lorac
