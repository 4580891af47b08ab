// Sums in float64, in one order on both targets: number i is added to partial i mod 256, a thread's
// own, and the partials are halved, 128, 64, …, 1. Products and sums are rounded apart.

#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family sumSpansFamily, sumWholeFamily;
}

static constexpr int64_t threads = 256;

// The block's sum of `number(i)` for i in [begin, end), in thread 0.
static void blockSum(DeviceBuilder &d, Int begin, Int end, llvm::function_ref<Value(Int i)> number,
                     llvm::function_ref<void(Value total)> use) {
  Type f64 = d.builder().getF64Type();
  Value sums = d.shared("sums", threads, f64), own = d.variable("own", d.number(0, f64));
  d.loop("i", begin + d.thread(), end, threads,
         [&](Int i) { d.set(own, d.get(own) + Num{&d, number(i)}); });
  d.store(d.get(own), sums, {d.thread()});
  Value half = d.variable("half", d.constant(threads / 2));
  d.loop("turn", 0, llvm::Log2_64(threads), 1, [&](Int) {
    d.barrier();
    Int other = d.named("other", d.thread() + d.getInt(half));
    d.where(d.thread() < d.getInt(half), [&] {
      d.store(d.loadNum(sums, {d.thread()}) + d.loadNum(sums, {other}), sums, {d.thread()});
    });
    d.set(half, d.getInt(half) / 2);
  });
  d.where(d.thread() == 0, [&] { use(d.named("total", d.loadNum(sums, {d.constant(0)}))); });
}

static LogicalResult buildSpans(Kernel &kernel) {
  const int64_t regions = kernel.integer("regions");
  Block &body = kernel.op.getBody().front();
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("spans", 0)};
  for (int64_t i = 0; i < regions; ++i)
    arguments.push_back(kernel.argument(nameOf(body.getArgument(i)), unsigned(1 + i)));
  arguments.push_back(kernel.argument("sums_of_spans", unsigned(1 + regions), true));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), arguments);
  Value spans = d.next();
  SmallVector<Value> memories;
  for (int64_t i = 0; i < regions; ++i)
    memories.push_back(d.next());
  Value sums = d.next();
  Int entry = d.named("entry", d.blockX() * 4);
  Int offset = d.named("offset", d.loadInt(spans, {entry})),
      end = d.named("end", offset + d.loadInt(spans, {entry + 1}));
  blockSum(
      d, offset, end,
      [&](Int i) {
        SmallVector<Value> elements;
        for (int64_t r = 0; r < regions; ++r)
          elements.push_back(
              d.named(nameOf(body.getArgument(r)) + "_i", d.loadNum(memories[r], {i})));
        return cloneMapBody(d, body, elements)[0];
      },
      [&](Value total) { d.store(total, sums, {d.blockX()}); });
  return success();
}

static LogicalResult buildWhole(Kernel &kernel) {
  ArrayRef<int64_t> ones = kernel.op.integers("ones"), writes = kernel.op.integers("writes");
  Block &body = kernel.op.getBody().front();
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("numbers", 0)};
  for (size_t i = 0; i < ones.size(); ++i)
    arguments.push_back(kernel.argument("one", unsigned(1 + i)));
  // One result for all that is written, or one for each.
  const bool hasResults = kernel.has("results");
  for (int64_t i = 0; i < (hasResults ? kernel.integer("results") : 1); ++i)
    arguments.push_back(kernel.argument("result", unsigned(1 + ones.size() + i), true));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), arguments);
  Value numbers = d.next();
  blockSum(
      d, d.constant(0), d.rows(), [&](Int i) { return d.loadNum(numbers, {i}); },
      [&](Value total) {
        SmallVector<Value> values{total};
        for (auto [i, place] : llvm::enumerate(ones))
          values.push_back(d.named(nameOf(body.getArgument(unsigned(1 + i))),
                                   d.loadNum(d.next(), {d.constant(place)})));
        SmallVector<Value> results(writes.size(), hasResults ? Value() : d.next());
        for (Value &result : results)
          if (hasResults)
            result = d.next();
        for (auto [result, place, value] :
             llvm::zip(results, writes, cloneMapBody(d, body, values)))
          d.store(value, result, {d.constant(place)});
      });
  return success();
}

static Grid blockASpan(DictionaryAttr, const CudaTarget &, int64_t spans) { return {spans, 1, 1}; }
static Grid oneBlock(DictionaryAttr, const CudaTarget &, int64_t) { return {1, 1, 1}; }

const Family lorac::cuda::sumSpansFamily = {
    "sum_spans", "Σ of a function of regions over each span, in float64", blockASpan, buildSpans};
const Family lorac::cuda::sumWholeFamily = {"sum_whole", "a function of the sum of all sums",
                                            oneBlock, buildWhole};
