// y = [res +] x·Wᵀ + scale·t·bᵀ: panels of W are decoded to scratch, the low-rank update rides
// along as extra steps. With `one_row` a launch over one row multiplies panels as it decodes them.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelDecoder.h"
#include "compiler/codegen/cpu/PanelGemm.h"

#include <numeric>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace {

/// Scratch: decoded panels `[group][depth][16]`, scales, panels of b `[group][rank][16]`, a copy of
/// x.
struct ForwardTiling {
  GemmBlocks blocks;
  bool decodes; ///< f32 panels are used where they lie
  int64_t scales, extra, copy, bytes;

  ForwardTiling(const WeightFormat &format, int64_t n, int64_t k, int64_t rank, int64_t lda)
      : blocks(GemmBlocks::forProduct(k, ceilDiv(n, panelRows))) {
    decodes = format != WeightFormat::floats(formats::ElementType::F32);
    int64_t panelBytes = decodes ? blocks.group * blocks.depth * panelRows * 4 : 0;
    scales = panelBytes;
    extra = scales + PanelDecoder::scratchBytes(format, k, blocks.depth, blocks.depth);
    copy = extra + blocks.group * rank * panelRows * 4;
    bytes = copy + blocks.copyOfA(lda) * 4;
  }
};

// Each packed weight is read once and nothing of it is stored. Every element is the chain that a
// tile makes of it.
void buildOneRow(KernelBuilder &k, PanelGemm &gemm, PanelDecoder &decoder, int64_t panels) {
  const int64_t depth = gemm.steps, block = gemm.blocks.depth,
                vectors = gemm.tile.vectors; // of a panel
  // Columns that share their scales, a whole number of turns of the loop over them.
  const int64_t turns = std::gcd(decoder.groupSize(), depth);
  Value zero = k.index(0);
  Value first = k.mul(k.begin(), gemm.blocks.panelsOfTile);
  Value last = k.min(k.mul(k.end(), gemm.blocks.panelsOfTile), k.index(panels));
  k.forLoop(first, last, 1, [&](Value panel) {
    auto at = [&](const Matrix &matrix, int64_t v) {
      return k.at(matrix, zero, k.add(k.mul(panel, panelRows), v * k.lanes()));
    };
    if (gemm.extraSteps)
      gemm.packExtra(panel, k.add(panel, 1));
    TileValues y;
    for (int64_t v = 0; v < vectors; ++v)
      y.push_back(gemm.start.memory ? k.vload(gemm.start.memory, at(gemm.start, v))
                                    : k.splatF32(0));
    y = k.forLoop(zero, k.index(depth), block, y, [&](Value from, ValueRange ofBlock) {
      Value to = k.min(k.add(from, block), k.index(depth));
      decoder.loadScales(panel, from, to);
      return k.forLoop(from, to, decoder.groupSize(), ofBlock, [&](Value group, ValueRange sums) {
        PanelDecoder::Scales scales =
            decoder.scales(k.div(k.sub(group, from), decoder.groupSize()));
        KernelBuilder::Values column;
        return accumulate(
            k, 1, vectors, group, k.min(k.add(group, decoder.groupSize()), to), turns,
            TileValues(sums),
            [&](int64_t, Value s) { return k.load(gemm.a.memory, k.at(gemm.a, zero, s)); },
            [&](int64_t v, Value s) {
              if (v == 0)
                column = decoder.decode(panel, s, scales);
              return column[v];
            });
      });
    });
    if (gemm.extraSteps)
      y = accumulate(
          k, 1, vectors, zero, gemm.extraSteps, 0, y,
          [&](int64_t, Value s) { return k.load(gemm.extraA.memory, k.at(gemm.extraA, zero, s)); },
          [&](int64_t v, Value s) { return gemm.extraAt(panel, panel, s, v); });
    for (int64_t v = 0; v < vectors; ++v)
      k.vstore(y[v], gemm.c.memory, at(gemm.c, v));
  });
}

FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  FailureOr<WeightFormat> format = parseFormat(loc, stringParam(params, "format"));
  if (failed(format))
    return failure();
  int64_t n = intParam(params, "n");
  if (intParam(params, "ldy") < roundUp(n, panelRows))
    return emitError(loc) << "linear_forward stores whole panels: ldy must be at least "
                          << roundUp(n, panelRows);
  ForwardTiling tiling(*format, n, intParam(params, "k"), mostRank(params),
                       intParam(params, "ldx"));
  return KernelShape{lora::TileSpace::Const, 1,
                     ceilDiv(ceilDiv(n, panelRows), tiling.blocks.panelsOfTile), tiling.bytes};
}

LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  FailureOr<WeightFormat> format = parseFormat(kernel.getLoc(), kernel.stringParam("format"));
  if (failed(format))
    return failure();
  int64_t n = kernel.intParam("n"), depth = kernel.intParam("k"),
          rank = mostRank(kernel.getParams());
  bool residual = kernel.intParam("residual") != 0;
  double scale = kernel.floatParam("scale");
  ForwardTiling tiling(*format, n, depth, rank, kernel.intParam("ldx"));

  MLIRContext *context = builder.getContext();
  SmallVector<MemRefType> buffers{KernelBuilder::activation(context, kernel.intParam("ldx"))};
  buffers.append(weightParts(context, *format, n, depth));
  unsigned low = buffers.size();
  if (rank > 0) {
    buffers.push_back(KernelBuilder::rowsOf(kernel, "ldt"));
    buffers.push_back(KernelBuilder::rowsOf(kernel, "rank"));
  }
  if (residual)
    buffers.push_back(KernelBuilder::activation(context, kernel.intParam("ldr")));
  buffers.push_back(KernelBuilder::activation(context, kernel.intParam("ldy")));
  KernelBuilder k(kernel, builder, target, buffers);

  PanelGemm gemm{RegisterTile::forColumns(target, panelRows), tiling.blocks, depth};
  gemm.a = {k.buffer(0)};
  gemm.c = {k.buffer(buffers.size() - 1)};
  if (residual)
    gemm.start = {k.buffer(buffers.size() - 2)};

  if (tiling.bytes > tiling.copy)
    gemm.useCopy(k, tiling.copy);

  PanelDecoder decoder(k, *format, n, depth, 1, tiling.blocks.depth, tiling.blocks.depth,
                       tiling.scales);
  if (tiling.decodes) {
    Value panels = k.scratchF32(0, {tiling.blocks.group, tiling.blocks.depth, panelRows});
    gemm.pack = [&, panels](Value first, Value last, Value from, Value to) {
      k.forLoop(first, last, 1, [&](Value panel) {
        decoder.loadScales(panel, from, to);
        Value slot = k.sub(panel, first);
        k.forLoop(from, to, decoder.groupSize(), [&](Value start) {
          PanelDecoder::Scales scales =
              decoder.scales(k.div(k.sub(start, from), decoder.groupSize()));
          Value end = k.min(k.add(start, decoder.groupSize()), to);
          k.forLoop(start, end, 1, [&](Value s) {
            for (const auto &[v, vector] : llvm::enumerate(decoder.decode(panel, s, scales)))
              k.vstore(vector, panels, {slot, k.sub(s, from), k.index(v * k.lanes())});
          });
        });
      });
    };
    gemm.panelsFrom(k, panels);
  } else {
    gemm.panelAt = [&k](Value panel, Value, Value s, Value, int64_t v) {
      return k.vload(k.buffer(1), {panel, s, k.index(v * k.lanes())});
    };
  }

  if (rank > 0) {
    Matrix b = k.matrix(low + 1, "rank");
    Value steps = k.param("rank"),
          panels = k.scratchF32(tiling.extra, {tiling.blocks.group * rank * panelRows});
    gemm.packExtra = [&k, &gemm, b, panels, n, steps, scale](Value first, Value last) {
      k.forLoop(first, last, 1, [&](Value panel) {
        k.forLoop(k.index(0), k.index(panelRows), 1, [&](Value lane) {
          Value row = k.add(k.mul(panel, panelRows), lane), readable = k.min(row, k.index(n - 1));
          k.forLoop(k.index(0), steps, 1, [&](Value s) {
            Value value = k.mulf(k.load(b.memory, k.at(b, readable, s)), k.constF32(scale));
            k.store(value, panels, {gemm.atExtra(k, k.sub(panel, first), s, lane)});
          });
        });
      });
    };
    gemm.extraFrom(k, steps, k.matrix(low, "ldt"), panels);
  }
  const int64_t panels = ceilDiv(n, panelRows);
  if (!kernel.hasParam("one_row")) {
    gemm.buildTiles(k, panels);
    return success();
  }
  Value isOne = k.equal(k.rows(), k.index(1));
  k.ifThen(isOne, [&] { buildOneRow(k, gemm, decoder, panels); });
  k.ifThen(k.less(k.index(1), k.rows()), [&] { gemm.buildTiles(k, panels); });
  return success();
}

int64_t flops(DictionaryAttr params, int64_t rows) {
  return 2 * rows * intParam(params, "n") * (intParam(params, "k") + mostRank(params));
}

} // namespace

namespace lorac::cpu {
extern const Family linearForwardFamily;
const Family linearForwardFamily{"linear_forward", "y = [res +] x·Wᵀ + scale·t·bᵀ", describe, build,
                                 flops};
} // namespace lorac::cpu
