#include "compiler/codegen/cpu/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

// Rows that one tile of the launch covers: enough that packing the factor again is small beside
// them.
static constexpr int64_t rowsOfTile = 48;

// Packed steps over all panels of a group: 128 KB, so that A's rows pass once.
static constexpr int64_t stepsOfPanels = 2048;

// Panels of a group where the columns are a rank: 64 of them.
static constexpr int64_t panelsOfRank = 4;

SmallProductPlan::SmallProductPlan(const CpuTarget &target, DictionaryAttr params)
    : tile(RegisterTile::forColumns(target,
                                    intParam(params, params.contains("j") ? "j" : "columns"))),
      blocks{0} {
  const bool knowsColumns = params.contains("j"), knowsSteps = params.contains("k");
  blocks.group = knowsColumns ? std::min(blocks.group, ceilDiv(intParam(params, "j"), tile.width()))
                              : panelsOfRank;
  blocks.depth = std::max<int64_t>(192, stepsOfPanels / blocks.group / 64 * 64);
  if (knowsSteps && knowsColumns)
    blocks.depth = std::min(intParam(params, "k"), blocks.depth);
  else if (knowsSteps) // equal blocks: a short last one would pay for C's tile as a whole one does
    blocks.depth =
        std::min(intParam(params, "k"), GemmBlocks::forProduct(intParam(params, "k"), 1).depth);
  bytes = roundUp(blocks.group * blocks.depth * tile.width() * 4, 64);
}

FailureOr<KernelShape> lorac::cpu::describeSmallProduct(Location loc, DictionaryAttr params,
                                                        const CpuTarget &target) {
  SmallProductPlan plan(target, params);
  // A leading dimension that comes with the launch is a whole number of tiles too.
  if (intParam(params, "exact") == 0 && params.contains("j") &&
      intParam(params, "ldc") < roundUp(intParam(params, "j"), plan.tile.width()))
    return emitError(loc)
           << "products over rows store whole tiles unless they are exact: ldc must be at least "
           << roundUp(intParam(params, "j"), plan.tile.width());
  return KernelShape{lora::TileSpace::Rows, rowsOfTile, 0, plan.bytes};
}

LogicalResult lorac::cpu::buildSmallProduct(lora::KernelOp kernel, OpBuilder &builder,
                                            const CpuTarget &target, PackFactor pack) {
  double scale = kernel.floatParam("scale");
  SmallProductPlan plan(target, kernel.getParams());
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::rowsOf(kernel, "lda"), KernelBuilder::rowsOf(kernel, "ldb"),
                   KernelBuilder::rowsOf(kernel, "ldc")});
  const bool knowsColumns = !isScalar(kernel, "j"), knowsSteps = !isScalar(kernel, "k");
  PanelGemm gemm{plan.tile, plan.blocks, knowsSteps ? kernel.intParam("k") : 0};
  if (!knowsSteps)
    gemm.stepsAtRun = k.param("k");
  gemm.a = k.matrix(0, "lda");
  gemm.c = k.matrix(2, "ldc");
  if (kernel.intParam("accumulate") != 0)
    gemm.start = gemm.c;
  const bool whole = knowsColumns && kernel.intParam("j") % plan.tile.width() == 0;
  if (kernel.intParam("exact") != 0 && !whole)
    gemm.columns = k.param("j");
  Value panels = k.scratchF32(0, {plan.blocks.group, plan.blocks.depth, plan.tile.width()});
  const Matrix factor = k.matrix(1, "ldb");
  gemm.pack = [&](Value first, Value last, Value from, Value to) {
    k.forLoop(first, last, 1, [&](Value panel) {
      pack(k, plan, factor, panels, panel, k.sub(panel, first), from, to, scale);
    });
  };
  gemm.panelsFrom(k, panels);
  Value firstRow = k.mul(k.begin(), rowsOfTile);
  Value lastRow = k.min(k.mul(k.end(), rowsOfTile), k.rows());
  gemm.build(k, k.index(0), k.ceilDiv(k.param("j"), plan.tile.width()), firstRow, lastRow);
  return success();
}

int64_t lorac::cpu::smallProductFlops(DictionaryAttr params, int64_t rows) {
  if (!params.contains("j") || !params.contains("k"))
    return 0; // the launch says them
  return 2 * rows * intParam(params, "j") * intParam(params, "k");
}
