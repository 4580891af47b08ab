// The parts of a packed weight, from the layout that the runtime packs.

#include "compiler/pipeline/WeightParts.h"
#include "runtime/formats/RowLayout.h"

using namespace lorac;
using namespace lorac::lora;

std::vector<WeightPart> lorac::weightParts(WeightType type, WeightLayout layout) {
  const formats::WeightFormat format = type.getFormat();
  auto shape = type.getShape();
  std::vector<WeightPart> parts;
  int64_t n = shape[0], k = shape.size() > 1 ? shape[1] : 1;
  for (int i = 0; i < formats::partCount(format); ++i)
    if (layout == WeightLayout::Rows)
      parts.push_back(
          {std::string(formats::rowPartName(format, i)), formats::rowPartBytes(format, i, n, k)});
    else
      parts.push_back({std::string(formats::partsOf(format).list[i].name),
                       formats::partBytes(format, i, n, k)});
  return parts;
}

int64_t lorac::weightBytes(WeightType type, WeightLayout layout) {
  int64_t bytes = 0;
  for (const WeightPart &part : weightParts(type, layout))
    bytes += part.bytes;
  return bytes;
}

int64_t lorac::frozenRoom(mlir::ModuleOp module, WeightLayout layout) {
  int64_t bytes = 0;
  for (FrozenOp op : module.getOps<FrozenOp>())
    for (const WeightPart &part : weightParts(llvm::cast<WeightType>(op.getType()), layout))
      bytes += layout == WeightLayout::Rows ? formats::rowPartRoom(part.bytes)
                                            : (part.bytes + 63) / 64 * 64;
  return bytes;
}

int64_t lorac::frozenBytes(mlir::ModuleOp module, WeightLayout layout) {
  int64_t bytes = 0;
  for (FrozenOp op : module.getOps<FrozenOp>())
    bytes += weightBytes(llvm::cast<WeightType>(op.getType()), layout);
  return bytes;
}
