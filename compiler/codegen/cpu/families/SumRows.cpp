// y[j] [+]= Σm x[m,j]: the gradient of a row that a map reads for all tokens. The sum is one
// ascending chain a column, so threads share the columns.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family sumRowsFamily;
}

static constexpr int64_t tileColumns = 64;

static FailureOr<KernelShape> describe(Location, DictionaryAttr params, const CpuTarget &) {
  return KernelShape{lora::TileSpace::Const, 1, ceilDiv(intParam(params, "cols"), tileColumns)};
}

// Columns first..first + width; whole vectors of x are there.
static void sumTile(KernelBuilder &k, Value first, int64_t width, bool accumulate) {
  Value x = k.buffer(0), y = k.buffer(1);
  auto live = [&](int64_t at) { return std::min(k.lanes(), width - at); };
  KernelBuilder::Values sums;
  for (int64_t at = 0; at < width; at += k.lanes())
    sums.push_back(accumulate ? loadLive(k, y, k.add(first, at), live(at)) : k.splatF32(0));
  sums = k.forLoop(k.index(0), k.rows(), 1, sums, [&](Value m, ValueRange before) {
    KernelBuilder::Values after;
    for (auto [v, sum] : llvm::enumerate(before))
      after.push_back(k.addf(sum, k.vload(x, {m, k.add(first, int64_t(v) * k.lanes())})));
    return after;
  });
  for (auto [v, sum] : llvm::enumerate(sums)) {
    const int64_t at = int64_t(v) * k.lanes();
    k.vstoreMasked(sum, y, {k.add(first, at)}, k.mask(live(at)));
  }
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  const int64_t cols = kernel.intParam("cols"), whole = cols / tileColumns;
  const bool accumulate = kernel.intParam("accumulate") != 0;
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(kernel.getContext(), kernel.intParam("ldx")),
                   KernelBuilder::dense({cols}, builder.getF32Type())});
  k.forLoop(k.begin(), k.min(k.end(), k.index(whole)), 1,
            [&](Value tile) { sumTile(k, k.mul(tile, tileColumns), tileColumns, accumulate); });
  if (int64_t rest = cols % tileColumns; rest > 0)
    k.ifThen(k.less(k.index(whole), k.end()),
             [&] { sumTile(k, k.index(whole * tileColumns), rest, accumulate); });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return rows * intParam(params, "cols");
}

const Family lorac::cpu::sumRowsFamily = {"sum_rows", "y[j] [+]= Σm x[m,j]", describe, build,
                                          flops};
