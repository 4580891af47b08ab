// dx [+]= dy·W + dt·a from the panels of the forward pass: blocks of 16 rows by 16 columns are
// decoded and transposed.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelDecoder.h"
#include "compiler/codegen/cpu/PanelGemm.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace {

/// Scratch: transposed panels `[group][depth][16]` (a panel is 16 columns of W), scales, panels of
/// a `[group][rank][16]`, a copy of dy.
struct BackwardTiling {
  GemmBlocks blocks;
  int64_t scales, extra, copy, bytes;

  BackwardTiling(const WeightFormat &format, int64_t n, int64_t k, int64_t rank, int64_t lda)
      : blocks(GemmBlocks::forProduct(n, ceilDiv(k, panelRows))) {
    scales = blocks.group * blocks.depth * panelRows * 4;
    extra = scales + PanelDecoder::scratchBytes(format, k, blocks.group * panelRows, panelRows);
    copy = extra + blocks.group * rank * panelRows * 4;
    bytes = copy + blocks.copyOfA(lda) * 4;
  }
};

FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  FailureOr<WeightFormat> format = parseFormat(loc, stringParam(params, "format"));
  if (failed(format))
    return failure();
  int64_t columns = intParam(params, "k");
  if (intParam(params, "lddx") < roundUp(columns, panelRows))
    return emitError(loc) << "linear_backward stores whole tiles: lddx must be at least "
                          << roundUp(columns, panelRows);
  BackwardTiling tiling(*format, intParam(params, "n"), columns, mostRank(params),
                        intParam(params, "lddy"));
  return KernelShape{lora::TileSpace::Const, 1,
                     ceilDiv(ceilDiv(columns, panelRows), tiling.blocks.panelsOfTile),
                     tiling.bytes};
}

// Columns [16·first, min(16·last, k)) of rows [from, to) of W, transposed; rows beyond n are 0.
void packTransposed(KernelBuilder &k, PanelDecoder &decoder, Value panels, int64_t columns,
                    Value first, Value last, Value from, Value to) {
  int64_t lanes = k.lanes(), group = decoder.groupSize();
  Value firstColumn = k.mul(first, panelRows);
  Value lastColumn = k.min(k.mul(last, panelRows), k.index(columns));
  k.forLoop(
      k.div(from, panelRows), k.div(k.add(to, panelRows - 1), panelRows), 1, [&](Value panel) {
        decoder.loadScales(panel, firstColumn, lastColumn);
        Value step = k.sub(k.mul(panel, panelRows), from);
        k.forLoop(first, last, 1, [&](Value tile) {
          Value slot = k.sub(tile, first);
          for (int64_t part = 0; part < panelRows; part += lanes) {
            Value start = k.add(k.mul(tile, panelRows), part);
            SmallVector<KernelBuilder::Values> blocks(panelRows / lanes);
            PanelDecoder::Scales scales;
            for (int64_t i = 0; i < lanes; ++i) {
              // Beyond k the last column is repeated: dx's padding may hold anything.
              Value column = k.add(start, i);
              if (columns % panelRows != 0)
                column = k.min(column, k.index(columns - 1));
              if (i % group == 0 || columns % panelRows != 0)
                scales = decoder.scales(k.div(k.sub(column, firstColumn), group));
              for (const auto &[block, vector] :
                   llvm::enumerate(decoder.decode(panel, column, scales)))
                blocks[block].push_back(vector);
            }
            for (const auto &[block, rows] : llvm::enumerate(blocks))
              for (const auto &[lane, row] : llvm::enumerate(transpose(k, rows)))
                k.vstore(row, panels, {slot, k.add(step, block * lanes + lane), k.index(part)});
          }
        });
      });
}

LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  FailureOr<WeightFormat> format = parseFormat(kernel.getLoc(), kernel.stringParam("format"));
  if (failed(format))
    return failure();
  int64_t n = kernel.intParam("n"), columns = kernel.intParam("k"),
          rank = mostRank(kernel.getParams());
  BackwardTiling tiling(*format, n, columns, rank, kernel.intParam("lddy"));

  MLIRContext *context = builder.getContext();
  SmallVector<MemRefType> buffers{KernelBuilder::activation(context, kernel.intParam("lddy"))};
  buffers.append(weightParts(context, *format, n, columns));
  unsigned low = buffers.size();
  if (rank > 0) {
    buffers.push_back(KernelBuilder::rowsOf(kernel, "lddt"));
    buffers.push_back(KernelBuilder::activation(context, columns));
  }
  buffers.push_back(KernelBuilder::activation(context, kernel.intParam("lddx")));
  KernelBuilder k(kernel, builder, target, buffers);

  PanelGemm gemm{RegisterTile::forColumns(target, panelRows), tiling.blocks, n};
  gemm.a = {k.buffer(0)};
  gemm.c = {k.buffer(buffers.size() - 1)};
  if (kernel.intParam("accumulate") != 0)
    gemm.start = gemm.c;

  if (tiling.bytes > tiling.copy)
    gemm.useCopy(k, tiling.copy);

  PanelDecoder decoder(k, *format, n, columns, 1, tiling.blocks.group * panelRows, panelRows,
                       tiling.scales);
  Value panels = k.scratchF32(0, {tiling.blocks.group, tiling.blocks.depth, panelRows});
  gemm.pack = [&](Value first, Value last, Value from, Value to) {
    packTransposed(k, decoder, panels, columns, first, last, from, to);
  };
  gemm.panelsFrom(k, panels);
  if (rank > 0) {
    Value a = k.buffer(low + 1), steps = k.param("rank"),
          extra = k.scratchF32(tiling.extra, {tiling.blocks.group * rank * panelRows});
    gemm.packExtra = [&k, &gemm, a, extra, columns, steps](Value first, Value last) {
      k.forLoop(first, last, 1, [&](Value panel) {
        k.forLoop(k.index(0), steps, 1, [&](Value s) {
          for (int64_t part = 0; part < panelRows; part += k.lanes()) {
            Value column = k.add(k.mul(panel, panelRows), part);
            Value values =
                columns % panelRows == 0
                    ? k.vload(a, {s, column})
                    : k.vloadMasked(a, {s, column}, k.mask(k.sub(k.index(columns), column)));
            k.vstore(values, extra, {gemm.atExtra(k, k.sub(panel, first), s, k.index(part))});
          }
        });
      });
    };
    gemm.extraFrom(k, steps, k.matrix(low, "lddt"), extra);
  }
  gemm.buildTiles(k, ceilDiv(columns, panelRows));
  return success();
}

int64_t flops(DictionaryAttr params, int64_t rows) {
  return 2 * rows * intParam(params, "k") * (intParam(params, "n") + mostRank(params));
}

} // namespace

namespace lorac::cpu {
extern const Family linearBackwardFamily;
const Family linearBackwardFamily{"linear_backward", "dx [+]= dy·W + dt·a", describe, build, flops};
} // namespace lorac::cpu
