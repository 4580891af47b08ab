// y[m] = W[ids[m]]: one lane of one panel, decoded.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelDecoder.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family embedFamily;
}

/// Scratch: the scales of a panel, then one column of it.
static int64_t scaleBytes(const WeightFormat &format, int64_t columns) {
  return roundUp(
      PanelDecoder::scratchBytes(format, columns, columns, std::max<int64_t>(format.block, 1)), 64);
}

static FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  FailureOr<WeightFormat> format = parseFormat(loc, stringParam(params, "format"));
  if (failed(format))
    return failure();
  return KernelShape{.space = lora::TileSpace::Rows,
                     .tile = 16,
                     .scratch = scaleBytes(*format, intParam(params, "k")) + panelRows * 4};
}

/// A row of a format without scales, element by element.
static void copyDense(KernelBuilder &k, const WeightFormat &format, int64_t columns, Value panel,
                      Value lane, Value m, Value y) {
  k.forLoop(k.index(0), k.index(columns), 1, [&](Value kk) {
    Value value = k.load(k.buffer(1), {panel, kk, lane});
    if (format.element == formats::ElementType::F16)
      value = k.f16ToF32(value);
    else if (format.element == formats::ElementType::BF16)
      value = k.bf16ToF32(value);
    k.store(value, y, {m, kk});
  });
}

/// Decodes the panel's 16 rows column by column and keeps one of them.
static void copyDecoded(KernelBuilder &k, PanelDecoder &decoder, int64_t scales, int64_t columns,
                        Value panel, Value lane, Value m, Value y) {
  Value column = k.scratchF32(scales, {panelRows});
  decoder.loadScales(panel, k.index(0), k.index(columns));
  k.forLoop(k.index(0), k.index(columns), 1, [&](Value kk) {
    auto rows = decoder.decode(panel, kk, decoder.scales(k.div(kk, decoder.groupSize())));
    for (auto [i, values] : llvm::enumerate(rows))
      k.vstore(values, column, k.index(i * k.lanes()));
    k.store(k.load(column, lane), y, {m, kk});
  });
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  int64_t n = kernel.intParam("n"), columns = kernel.intParam("k");
  FailureOr<WeightFormat> format = parseFormat(kernel.getLoc(), kernel.stringParam("format"));
  if (failed(format))
    return failure();
  SmallVector<MemRefType> buffers{KernelBuilder::dense({manyRows}, IntegerType::get(context, 32))};
  buffers.append(weightParts(context, *format, n, columns));
  buffers.push_back(KernelBuilder::activation(context, kernel.intParam("ldy")));
  KernelBuilder k(kernel, builder, target, buffers);
  Value y = k.buffer(buffers.size() - 1);
  PanelDecoder decoder(k, *format, n, columns, 1, columns, std::max<int64_t>(format->block, 1), 0);
  forEachRow(k, kernel.getTile(), [&](Value m) {
    Value id = k.toIndex(k.load(k.buffer(0), m));
    Value panel = k.div(id, panelRows), lane = k.rem(id, panelRows);
    if (format->block == 0)
      copyDense(k, *format, columns, panel, lane, m, y);
    else
      copyDecoded(k, decoder, scaleBytes(*format, columns), columns, panel, lane, m, y);
  });
  return success();
}

static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::embedFamily = {"embed", "y[m] = W[ids[m]]", describe, build, flops};
