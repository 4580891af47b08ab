#include "compiler/codegen/cpu/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

// Rows that one tile of the launch covers: enough that packing the factor again is small beside
// them.
static constexpr int64_t rowsOfTile = 48;

// Packed steps over all panels of a group: 128 KB, so that A's rows pass once.
static constexpr int64_t stepsOfPanels = 2048;

SmallProductPlan::SmallProductPlan(const CpuTarget &target, int64_t j, int64_t steps)
    : tile(RegisterTile::forColumns(target, j)), blocks{steps} {
  blocks.group = std::min(blocks.group, ceilDiv(j, tile.width()));
  blocks.depth = std::min(steps, std::max<int64_t>(192, stepsOfPanels / blocks.group / 64 * 64));
  bytes = roundUp(blocks.group * blocks.depth * tile.width() * 4, 64);
}

FailureOr<KernelShape> lorac::cpu::describeSmallProduct(Location loc, DictionaryAttr params,
                                                        const CpuTarget &target) {
  int64_t j = intParam(params, "j");
  SmallProductPlan plan(target, j, intParam(params, "k"));
  if (intParam(params, "exact") == 0 && intParam(params, "ldc") < roundUp(j, plan.tile.width()))
    return emitError(loc)
           << "products over rows store whole tiles unless they are exact: ldc must be at least "
           << roundUp(j, plan.tile.width());
  return KernelShape{lora::TileSpace::Rows, rowsOfTile, 0, plan.bytes};
}

LogicalResult lorac::cpu::buildSmallProduct(lora::KernelOp kernel, OpBuilder &builder,
                                            const CpuTarget &target, ArrayRef<int64_t> factorShape,
                                            PackFactor pack) {
  int64_t j = kernel.intParam("j"), steps = kernel.intParam("k");
  double scale = kernel.floatParam("scale");
  SmallProductPlan plan(target, j, steps);
  MLIRContext *context = builder.getContext();
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, kernel.intParam("lda")),
                   KernelBuilder::dense(factorShape, builder.getF32Type()),
                   KernelBuilder::activation(context, kernel.intParam("ldc"))});
  PanelGemm gemm{plan.tile, plan.blocks, steps};
  gemm.a = k.buffer(0);
  gemm.c = k.buffer(2);
  if (kernel.intParam("accumulate") != 0)
    gemm.start = gemm.c;
  if (kernel.intParam("exact") != 0 && j % plan.tile.width() != 0)
    gemm.columns = j;
  Value panels = k.scratchF32(0, {plan.blocks.group, plan.blocks.depth, plan.tile.width()});
  gemm.pack = [&](Value first, Value last, Value from, Value to) {
    k.forLoop(first, last, 1, [&](Value panel) {
      pack(k, plan, k.buffer(1), panels, panel, k.sub(panel, first), from, to, scale);
    });
  };
  gemm.panelsFrom(k, panels);
  Value firstRow = k.mul(k.begin(), rowsOfTile);
  Value lastRow = k.min(k.mul(k.end(), rowsOfTile), k.rows());
  gemm.build(k, k.index(0), k.index(ceilDiv(j, plan.tile.width())), firstRow, lastRow);
  return success();
}

int64_t lorac::cpu::smallProductFlops(DictionaryAttr params, int64_t rows) {
  return 2 * rows * intParam(params, "j") * intParam(params, "k");
}
