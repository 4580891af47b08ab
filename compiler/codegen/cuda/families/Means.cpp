// The mean of a function over each row or column of each parameter, or over each parameter; a block
// takes a parameter, by the table of LoracMatrix. Sums are in float64. Of a row: 16 partials,
// number i added to partial i mod 16, which are halved, 8, 4, 2, 1; a parameter's is the chain of
// its rows'. With `average` the result is keep·result + take·mean, by the last two of `ones`.

#include "compiler/codegen/cuda/families/MapBody.h"
#include "compiler/codegen/cuda/families/Matrices.h"
#include "compiler/codegen/cuda/families/TripletTable.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;
using lora::Storage;

namespace lorac::cuda {
extern const Family meanLinesFamily;
}

static constexpr int64_t threads = tripletThreads, partials = 16, rowsAtOnce = threads / partials;

namespace {

class MeanKernel {
public:
  MeanKernel(DeviceBuilder &d, Kernel &kernel)
      : d(d), body(kernel.op.getBody().front()),
        storage(lora::KernelOp::storageOf(kernel.op.getParams())), f64(d.builder().getF64Type()),
        isAverage(kernel.flag("average")) {
    Value table = d.next();
    for (int64_t place : kernel.op.integers("ones")) {
      const size_t argument = storage.size() + ones.size();
      const bool isOfBody = argument < body.getNumArguments();
      ones.push_back(d.named(isOfBody ? nameOf(body.getArgument(unsigned(argument)))
                             : argument == body.getNumArguments() ? "keep"
                                                                  : "take",
                             d.loadNum(d.next(), {d.constant(place)})));
    }
    for (size_t i = 0; i < storage.size(); ++i)
      memories.push_back(d.next());
    result = d.next();
    of = matrixOf(d, table, d.named("parameter", d.blockX()));
  }

  void rows() {
    overRows([&](Int row, Num sum) { put(sum, of.columns, of.row + row); });
  }
  void columns() {
    sumColumns(
        d, of.rows, of.columns, [&](Int row, Int column) { return term(row, column); },
        [&](Int column, Num sum) { put(sum, of.rows, of.column + column); });
  }
  void parameter() {
    Value total = d.variable("total", d.number(0, f64));
    overRows({}, [&](Int, Num sum) { d.set(total, d.get(total) + sum); });
    d.where(d.thread() == 0, [&] { put(d.get(total), of.rows * of.columns, of.index); });
  }

private:
  using Use = llvm::function_ref<void(Int row, Num sum)>;
  // `each` gets a row's sum in one of its threads; `inOrder` all rows' in the block's first thread.
  void overRows(Use each, Use inOrder = {}) {
    Value sums = d.shared("sums_of_threads", threads, f64);
    Int partial = d.named("partial", d.thread() % partials),
        rowOfThread = d.named("row_of_thread", d.thread() / partials);
    d.loop("first", d.constant(0), of.rows, rowsAtOnce, [&](Int first) {
      Int row = d.named("row", first + rowOfThread);
      Value own = d.variable("own", d.number(0, f64));
      d.where(row < of.rows, [&] {
        d.loop("column", partial, of.columns, partials,
               [&](Int column) { d.set(own, d.get(own) + term(row, column)); });
      });
      d.store(d.get(own), sums, {d.thread()});
      Value half = d.variable("half", d.constant(partials / 2));
      d.loop("turn", 0, llvm::Log2_64(partials), 1, [&](Int) {
        d.barrier();
        Int other = d.named("other", d.thread() + d.getInt(half));
        d.where(partial < d.getInt(half), [&] {
          d.store(d.loadNum(sums, {d.thread()}) + d.loadNum(sums, {other}), sums, {d.thread()});
        });
        d.set(half, d.getInt(half) / 2);
      });
      if (each)
        d.where(partial == 0 && row < of.rows,
                [&] { each(row, d.named("sum", d.loadNum(sums, {d.thread()}))); });
      if (inOrder) {
        d.barrier();
        d.where(d.thread() == 0, [&] {
          d.loop("next", first, min(first + rowsAtOnce, of.rows), 1,
                 [&](Int next) { inOrder(next, d.loadNum(sums, {(next - first) * partials})); });
        });
      }
      d.barrier();
    });
  }

  // The body's number of an element.
  Num term(Int row, Int column) {
    Int at = d.named("at", of.offset + row * of.columns + column);
    SmallVector<Value> values;
    for (auto [i, stored] : llvm::enumerate(storage))
      values.push_back(
          d.named(nameOf(body.getArgument(unsigned(i))) + "_i",
                  d.loadNum(memories[i], {placeInMatrix(stored, of, at, row, column)})));
    for (size_t i = storage.size(); i < body.getNumArguments(); ++i)
      values.push_back(ones[i - storage.size()]);
    return {&d, cloneMapBody(d, body, values)[0]};
  }

  void put(Num sum, Int count, Int at) {
    Num mean = d.named("mean", d.toF32(sum / d.toF64(d.toNum(count))));
    if (isAverage)
      mean = d.loadNum(result, {at}) * ones[ones.size() - 2] + mean * ones.back();
    d.store(mean, result, {at});
  }

  DeviceBuilder &d;
  Block &body;
  SmallVector<Storage> storage;
  Type f64;
  bool isAverage;
  SmallVector<Num> ones;
  SmallVector<Value> memories;
  Value result;
  Matrix of{};
};

} // namespace

static LogicalResult build(Kernel &kernel) {
  Block &body = kernel.op.getBody().front();
  SmallVector<DeviceBuilder::Argument> arguments;
  auto add = [&](StringRef name, bool written = false) {
    arguments.push_back(kernel.argument(name, unsigned(arguments.size()), written));
  };
  add("matrices");
  for (size_t i = 0; i < kernel.op.integers("ones").size(); ++i)
    add("one");
  const size_t regions = lora::KernelOp::storageOf(kernel.op.getParams()).size();
  for (size_t i = 0; i < regions; ++i)
    add(nameOf(body.getArgument(unsigned(i))));
  add("result", true);
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), arguments);
  MeanKernel means(d, kernel);
  const StringRef line = kernel.string("line");
  if (line == stringifyStorage(Storage::Rows))
    means.rows();
  else if (line == stringifyStorage(Storage::Columns))
    means.columns();
  else
    means.parameter();
  return success();
}

static Grid blockAParameter(DictionaryAttr, const CudaTarget &, int64_t parameters) {
  return {parameters, 1, 1};
}

const Family lorac::cuda::meanLinesFamily = {
    "mean_lines", "the mean of a function over each row, column or parameter", blockAParameter,
    build};
