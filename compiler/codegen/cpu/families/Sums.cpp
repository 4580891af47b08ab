// Sums in float64, in one order on both targets: number i is added to partial i mod 256, and the
// partials are halved, 128, 64, …, 1. Products and sums are rounded apart, so neither threads nor
// the vectors of a target change a bit.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"

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

// `numbers` answers the vector from number i on: all lanes where there is no mask.
static Value sumOf(KernelBuilder &k, Value count,
                   llvm::function_ref<Value(Value i, Value mask)> numbers) {
  Type f64 = k.builder().getF64Type();
  VectorType vector = k.vec(f64, k.lanes());
  Value sums = k.scratch(0, {partials}, f64), none = k.index(0);
  auto load = [&](Value at) { return k.vload(vector, sums, at); };
  auto overSums = [&](Value upper, llvm::function_ref<Value(Value at)> next) {
    k.forLoop(none, upper, k.lanes(), [&](Value at) { k.vstore(next(at), sums, at); });
  };
  Value zero = k.constant(DenseElementsAttr::get(vector, 0.0));
  Value whole = k.mul(k.div(count, partials), partials), rest = k.sub(count, whole);
  overSums(k.index(partials), [&](Value) { return zero; });
  k.forLoop(none, whole, partials, [&](Value i) {
    overSums(k.index(partials),
             [&](Value at) { return k.addf(load(at), numbers(k.add(i, at), {})); });
  });
  overSums(rest, [&](Value at) {
    Value mask = k.mask(k.sub(rest, at)), sum = load(at);
    return k.select(mask, k.addf(sum, numbers(k.add(whole, at), mask)), sum);
  });
  for (int64_t half = partials / 2; half >= k.lanes(); half /= 2)
    overSums(k.index(half), [&](Value at) { return k.addf(load(at), load(k.add(at, half))); });
  return k.reduceAdd(load(none));
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
    Value sum = sumOf(k, count, [&](Value i, Value mask) {
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
  buffers.append(ones.size() + 1, KernelBuilder::dense({flat}, builder.getF32Type()));
  KernelBuilder k(kernel, builder, target, buffers);
  k.forLoop(k.begin(), k.end(), 1, [&](Value) {
    Value total = sumOf(k, k.rows(), [&](Value i, Value mask) {
      return mask ? k.vloadMasked(k.buffer(0), i, mask)
                  : k.vload(k.vec(f64, k.lanes()), k.buffer(0), i);
    });
    Values arguments{k.broadcast(total)};
    for (auto [i, place] : llvm::enumerate(ones))
      arguments.push_back(k.broadcast(k.load(k.buffer(1 + i), k.index(place))));
    for (auto [place, value] : llvm::zip(writes, vectoriseMapBody(k, body, arguments)))
      k.store(k.extract(value, 0), k.buffer(1 + ones.size()), k.index(place));
  });
  return success();
}

static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::sumSpansFamily = {"sum_spans",
                                           "Σ of a function of regions over each span, in float64",
                                           describeSpans, buildSpans, flops};
const Family lorac::cpu::sumWholeFamily = {"sum_whole", "a function of the sum of all sums",
                                           describeWhole, buildWhole, flops};
