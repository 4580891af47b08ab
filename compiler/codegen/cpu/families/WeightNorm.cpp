// norm[i] = sqrt(Σk (W[i,k] + scale·Σr B[i,r]·A[r,k])²). The 16 rows of a panel are the lanes; a
// column is decoded, gets its update, and its square is added: one ascending chain a row.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/PanelDecoder.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

using Values = KernelBuilder::Values;

namespace {

/// Scratch: the scales of a panel, then its rows of scale·B as `[rank][16]`.
struct NormScratch {
  int64_t factor, bytes;

  NormScratch(const WeightFormat &format, DictionaryAttr params)
      : factor(roundUp(PanelDecoder::scratchBytes(format, intParam(params, "k"),
                                                  intParam(params, "k"), alignment(format)),
                       64)),
        bytes(factor + mostRank(params) * panelRows * 4) {}

  static int64_t alignment(const WeightFormat &format) {
    return std::max<int64_t>(format.block, 1);
  }
};

FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  FailureOr<WeightFormat> format = parseFormat(loc, stringParam(params, "format"));
  if (failed(format))
    return failure();
  return KernelShape{lora::TileSpace::Const, 1, ceilDiv(intParam(params, "n"), panelRows),
                     NormScratch(*format, params).bytes};
}

struct Builder {
  KernelBuilder &k;
  PanelDecoder &decoder;
  int64_t n;
  Value a, factor; ///< A; the panel's rows of scale·B
  Matrix b;
  double scale;

  void packFactor(Value panel) {
    k.forLoop(k.index(0), k.index(panelRows), 1, [&](Value lane) {
      Value row = k.add(k.mul(panel, panelRows), lane), readable = k.min(row, k.index(n - 1));
      k.forLoop(k.index(0), k.param("rank"), 1, [&](Value r) {
        k.store(k.mulf(k.load(b.memory, k.at(b, readable, r)), k.constF32(scale)), factor,
                {r, lane});
      });
    });
  }

  // The squares of columns kk..kk + count, added to `sums`. Several at a time, so that a line of A
  // and a row of the factor serve all of them.
  Values addColumns(Value panel, Value kk, int64_t count, ValueRange sums) {
    const auto vectors = int64_t(sums.size());
    Values values;
    for (int64_t c = 0; c < count; ++c) {
      Value column = k.add(kk, c);
      values.append(
          decoder.decode(panel, column, decoder.scales(k.div(column, decoder.groupSize()))));
    }
    values = k.forLoop(k.index(0), k.param("rank"), 1, values, [&](Value r, ValueRange before) {
      Values rows, after;
      for (int64_t v = 0; v < vectors; ++v)
        rows.push_back(k.vload(factor, {r, k.index(v * k.lanes())}));
      for (int64_t c = 0; c < count; ++c) {
        Value one = k.broadcast(k.load(a, {r, k.add(kk, c)}));
        for (int64_t v = 0; v < vectors; ++v)
          after.push_back(k.fma(rows[v], one, before[c * vectors + v]));
      }
      return after;
    });
    Values result(sums);
    for (int64_t c = 0; c < count; ++c)
      for (int64_t v = 0; v < vectors; ++v)
        result[v] = k.fma(values[c * vectors + v], values[c * vectors + v], result[v]);
    return result;
  }
};

LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  FailureOr<WeightFormat> format = parseFormat(kernel.getLoc(), kernel.stringParam("format"));
  if (failed(format))
    return failure();
  const int64_t n = kernel.intParam("n"), columns = kernel.intParam("k");
  const NormScratch scratch(*format, kernel.getParams());
  SmallVector<MemRefType> buffers = weightParts(kernel.getContext(), *format, n, columns);
  const unsigned a = buffers.size();
  buffers.append({KernelBuilder::activation(kernel.getContext(), columns),
                  KernelBuilder::rowsOf(kernel, "rank"),
                  KernelBuilder::dense({n}, builder.getF32Type())});
  KernelBuilder k(kernel, builder, target, buffers);
  PanelDecoder decoder(k, *format, n, columns, 0, columns, NormScratch::alignment(*format), 0);
  Value factor = k.scratchF32(scratch.factor, {mostRank(kernel.getParams()), panelRows});
  Builder norm{
      k, decoder, n, k.buffer(a), factor, k.matrix(a + 1, "rank"), kernel.floatParam("scale")};

  constexpr int64_t several = 4;
  const int64_t whole = columns / several * several;
  k.forLoop(k.begin(), k.end(), 1, [&](Value panel) {
    decoder.loadScales(panel, k.index(0), k.index(columns));
    norm.packFactor(panel);
    Values sums(panelRows / k.lanes(), k.splatF32(0));
    for (auto [from, to, count] :
         {std::tuple(int64_t(0), whole, several), {whole, columns, int64_t(1)}})
      if (from < to)
        sums = k.forLoop(k.index(from), k.index(to), count, sums,
                         [&, count = count](Value kk, ValueRange before) {
                           return norm.addColumns(panel, kk, count, before);
                         });
    for (auto [v, sum] : llvm::enumerate(sums)) {
      Value row = k.add(k.mul(panel, panelRows), int64_t(v) * k.lanes());
      k.vstoreMasked(k.sqrtf(sum), k.buffer(a + 2), {row}, k.mask(k.sub(k.index(n), row)));
    }
  });
  return success();
}

int64_t flops(DictionaryAttr params, int64_t) {
  if (!params.contains("rank"))
    return 0; // the launch says it
  return 2 * intParam(params, "n") * intParam(params, "k") * (intParam(params, "rank") + 1);
}

} // namespace

namespace lorac::cpu {
extern const Family weightNormFamily;
const Family weightNormFamily{
    "weight_norm", "norm[i] = sqrt(Σk (W[i,k] + scale·Σr B[i,r]·A[r,k])²)", describe, build, flops};
} // namespace lorac::cpu
