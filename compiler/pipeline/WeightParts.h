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

std::vector<WeightPart> weightParts(lora::WeightType type);
int64_t weightBytes(lora::WeightType type);

/// Bytes of all frozen weights as they lie in memory.
int64_t frozenBytes(mlir::ModuleOp module);

} // namespace lorac
