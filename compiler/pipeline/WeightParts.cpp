// The parts of a packed weight, from the layout that the runtime packs.

#include "compiler/pipeline/WeightParts.h"
#include "runtime/formats/PackedLayout.h"

using namespace lorac;
using namespace lorac::lora;

// Until runtime/formats/RowLayout.h is there.
static std::vector<WeightPart> rowParts(const formats::WeightFormat &f, int64_t n, int64_t k) {
  int64_t np = (n + 127) / 128 * 128, kp = (k + 63) / 64 * 64, kt = kp / 64;
  int64_t s = f.isGgmlBlocks() ? 2 : f.block >= 64 ? (k % 64 == 0 ? 1 : 2) : (k % 32 == 0 ? 2 : 3);
  if (f.kind == formats::WeightFormat::Vector)
    return {{"values", n * 4}};
  if (f.isNf4OrFp4()) {
    std::vector<WeightPart> parts{{"codes", np * kp / 2}, {"absmax", kt * s * np * (f.doubleQuant ? 1 : 4)}};
    if (f.doubleQuant)
      parts.push_back({"nested", formats::partBytes(f, 2, n, k)});
    return parts;
  }
  if (!f.isGgmlBlocks())
    return {{"rows", np * kp * 2}};
  std::vector<WeightPart> parts{{"codes", f.kind == formats::WeightFormat::Q8_0 ? np * kp : np * kp / 2}, {"d", kt * 2 * np * 2}};
  if (f.kind == formats::WeightFormat::Q4_1)
    parts.push_back({"m", kt * 2 * np * 2});
  return parts;
}

std::vector<WeightPart> lorac::weightParts(WeightType type, WeightLayout layout) {
  std::optional<formats::WeightFormat> format = formats::parseWeightFormat(type.formatName());
  assert(format && "the type's verifier knows the same formats");
  auto shape = type.getShape();
  std::vector<WeightPart> parts;
  if (layout == WeightLayout::Rows)
    return rowParts(*format, shape[0], shape.size() > 1 ? shape[1] : 1);
  for (int i = 0; i < formats::partCount(*format); ++i)
    parts.push_back({formats::partName(*format, i),
                     formats::partBytes(*format, i, shape[0], shape.size() > 1 ? shape[1] : 1)});
  return parts;
}

int64_t lorac::weightBytes(WeightType type, WeightLayout layout) {
  int64_t bytes = 0;
  for (const WeightPart &part : weightParts(type, layout))
    bytes += part.bytes;
  return bytes;
}

int64_t lorac::frozenBytes(mlir::ModuleOp module, WeightLayout layout) {
  int64_t bytes = 0;
  for (FrozenOp op : module.getOps<FrozenOp>())
    bytes += weightBytes(llvm::cast<WeightType>(op.getType()), layout);
  return bytes;
}
