// The parts of a packed weight, from the layout that the runtime packs.

#include "compiler/pipeline/WeightParts.h"
#include "runtime/formats/PackedLayout.h"

using namespace lorac;
using namespace lorac::lora;

std::vector<WeightPart> lorac::weightParts(WeightType type) {
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(type.formatName());
  assert(format && "the type's verifier knows the same formats");
  auto shape = type.getShape();
  std::vector<WeightPart> parts;
  for (int i = 0; i < formats::partCount(*format); ++i)
    parts.push_back({formats::partName(*format, i),
                     formats::partBytes(*format, i, shape[0], shape.size() > 1 ? shape[1] : 1)});
  return parts;
}

int64_t lorac::weightBytes(WeightType type) {
  int64_t bytes = 0;
  for (const WeightPart &part : weightParts(type))
    bytes += part.bytes;
  return bytes;
}

int64_t lorac::frozenBytes(mlir::ModuleOp module) {
  int64_t bytes = 0;
  for (FrozenOp op : module.getOps<FrozenOp>())
    bytes += weightBytes(llvm::cast<WeightType>(op.getType()));
  return bytes;
}
