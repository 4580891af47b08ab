// Sums in float64, in one order on both targets: that of Partials.h, with 256 partials.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"
#include "compiler/codegen/cpu/families/Partials.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family sumSpansFamily, sumWholeFamily;
}

using Values = KernelBuilder::Values;

static constexpr int64_t partials = 256, flat = manyRows << 16;

static FailureOr<KernelShape> describeSpans(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{lora::TileSpace::Rows, 1, 0, partials * 8};
}
static FailureOr<KernelShape> describeWhole(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{lora::TileSpace::Const, 1, 1, partials * 8};
}

static LogicalResult buildSpans(lora::KernelOp kernel, OpBuilder &builder,
                                const CpuTarget &target) {
  const int64_t regions = kernel.intParam("regions");
  Block &body = kernel.getBody().front();
  if (failed(checkMapBody(body)))
    return failure();
  SmallVector<MemRefType> buffers{KernelBuilder::dense({manyRows, 4}, builder.getI32Type())};
  buffers.append(regions, KernelBuilder::dense({flat}, builder.getF32Type()));
  buffers.push_back(KernelBuilder::dense({manyRows}, builder.getF64Type()));
  KernelBuilder k(kernel, builder, target, buffers);
  forEachRow(k, kernel.getTile(), [&](Value span) {
    auto field = [&](int64_t i) { return k.toIndex(k.load(k.buffer(0), {span, k.index(i)})); };
    Value offset = field(0), count = field(1);
    Value sum = sumInPartials(k, partials, count, [&](Value i, Value mask) {
      Values elements;
      Value at = k.add(offset, i);
      for (int64_t r = 0; r < regions; ++r)
        elements.push_back(mask ? k.vloadMasked(k.buffer(1 + r), at, mask)
                                : k.vload(k.buffer(1 + r), at));
      return vectoriseMapBody(k, body, elements)[0];
    });
    k.store(sum, k.buffer(1 + regions), span);
  });
  return success();
}

static LogicalResult buildWhole(lora::KernelOp kernel, OpBuilder &builder,
                                const CpuTarget &target) {
  ArrayRef<int64_t> ones = kernel.integers("ones"), writes = kernel.integers("writes");
  Block &body = kernel.getBody().front();
  if (failed(checkMapBody(body)))
    return failure();
  Type f64 = builder.getF64Type();
  SmallVector<MemRefType> buffers{KernelBuilder::dense({manyRows}, f64)};
  // One result for all that is written, or one for each.
  const bool hasResults = kernel.hasParam("results");
  const int64_t results = hasResults ? kernel.intParam("results") : 1;
  buffers.append(ones.size() + results, KernelBuilder::dense({flat}, builder.getF32Type()));
  KernelBuilder k(kernel, builder, target, buffers);
  k.forLoop(k.begin(), k.end(), 1, [&](Value) {
    Value total = sumInPartials(k, partials, k.rows(), [&](Value i, Value mask) {
      return mask ? k.vloadMasked(k.buffer(0), i, mask)
                  : k.vload(k.vec(f64, k.lanes()), k.buffer(0), i);
    });
    Values arguments{k.broadcast(total)};
    for (auto [i, place] : llvm::enumerate(ones))
      arguments.push_back(k.broadcast(k.load(k.buffer(1 + i), k.index(place))));
    for (auto [i, place, value] : llvm::enumerate(writes, vectoriseMapBody(k, body, arguments)))
      k.store(k.extract(value, 0), k.buffer(1 + ones.size() + (hasResults ? i : 0)),
              k.index(place));
  });
  return success();
}

static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::sumSpansFamily = {"sum_spans",
                                           "Σ of a function of regions over each span, in float64",
                                           describeSpans, buildSpans, flops};
const Family lorac::cpu::sumWholeFamily = {"sum_whole", "a function of the sum of all sums",
                                           describeWhole, buildWhole, flops};
