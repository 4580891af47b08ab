// The mean of a function over each row or column of each parameter, or over each parameter; a tile
// is a parameter, by the table of LoracMatrix. Sums are in float64: of a row in 16 partials
// (Partials.h), of a column and of a parameter's rows one ascending chain. With `average` the
// result is keep·result + take·mean, by the last two of `ones`.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"
#include "compiler/codegen/cpu/families/Matrices.h"
#include "compiler/codegen/cpu/families/Partials.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;
using lora::Storage;

namespace lorac::cpu {
extern const Family meanLinesFamily;
}

using Values = KernelBuilder::Values;

static constexpr int64_t partials = 16, flat = manyRows << 16;

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{lora::TileSpace::Rows, 1, 0, partials * 8};
}

namespace {

class MeanKernel {
public:
  MeanKernel(KernelBuilder &k, lora::KernelOp kernel)
      : k(k), body(kernel.getBody().front()),
        storage(lora::KernelOp::storageOf(kernel.getParams())), line(kernel.stringParam("line")),
        isAverage(kernel.intParam("average") != 0), f64(k.builder().getF64Type()) {
    unsigned next = 1;
    for (int64_t place : kernel.integers("ones"))
      ones.push_back(k.load(k.buffer(next++), k.index(place)));
    for (size_t i = 0; i < storage.size(); ++i)
      memories.push_back(k.buffer(next++));
    result = k.buffer(next);
    if (isAverage)
      take = ones.pop_back_val(), keep = ones.pop_back_val();
    for (Value one : ones)
      broadcasts.push_back(k.broadcast(one));
  }

  void parameter(Value index) {
    const Matrices of(k, k.buffer(0), index);
    auto rowSum = [&](Value row) {
      return sumInPartials(k, partials, of.columns, [&](Value column, Value mask) {
        return term(of, index, row, column, mask);
      });
    };
    if (line == stringifyStorage(Storage::Rows)) {
      k.forLoop(k.index(0), of.rows, 1, [&](Value row) {
        Value mean = narrow(k.divf(rowSum(row), count(of.columns)));
        put(mean, k.add(of.row, row));
      });
    } else if (line == stringifyStorage(Storage::Columns)) {
      columns(of, index);
    } else {
      Value zero = k.constant(k.builder().getF64FloatAttr(0));
      Value sum = k.forLoop(k.index(0), of.rows, 1, {zero}, [&](Value row, ValueRange before) {
        return Values{k.addf(before[0], rowSum(row))};
      })[0];
      put(narrow(k.divf(sum, count(k.mul(of.rows, of.columns)))), index);
    }
  }

private:
  void columns(const Matrices &of, Value index) {
    VectorType vector = k.vec(f64, k.lanes());
    Value zero = k.constant(DenseElementsAttr::get(vector, 0.0));
    k.forLoop(k.index(0), of.columns, k.lanes(), [&](Value column) {
      Value mask = k.mask(k.sub(of.columns, column));
      Value sum = k.forLoop(k.index(0), of.rows, 1, {zero}, [&](Value row, ValueRange before) {
        return Values{k.addf(before[0], term(of, index, row, column, mask))};
      })[0];
      Value mean = narrow(k.divf(sum, k.broadcast(count(of.rows))));
      Value at = k.add(of.column, column);
      if (isAverage)
        mean =
            averaged(mean, k.vloadMasked(result, at, mask), k.broadcast(keep), k.broadcast(take));
      k.vstoreMasked(mean, result, at, mask);
    });
  }

  // The body's numbers of a row from a column on.
  Value term(const Matrices &of, Value index, Value row, Value column, Value mask) {
    Values arguments;
    Value at = k.add(of.offset, k.add(k.mul(row, of.columns), column)), none = k.index(0);
    for (auto [stored, memory] : llvm::zip(storage, memories))
      arguments.push_back(
          loadPlace(k, placeInMatrix(k, stored, memory, of, index, at, row, column), none, mask));
    arguments.append(broadcasts);
    return vectoriseMapBody(k, body, arguments)[0];
  }

  void put(Value mean, Value at) {
    k.store(isAverage ? averaged(mean, k.load(result, at), keep, take) : mean, result, at);
  }
  Value averaged(Value mean, Value old, Value keep, Value take) {
    return k.addf(k.mulf(old, keep), k.mulf(mean, take));
  }

  Value count(Value index) { return k.toFloat(k.fromIndex(index, k.i32()), f64); }
  Value narrow(Value x) {
    Type to = k.f32();
    if (auto vector = dyn_cast<VectorType>(x.getType()))
      to = k.vec(to, vector.getNumElements());
    return arith::TruncFOp::create(k.builder(), k.location(), to, x);
  }

  KernelBuilder &k;
  Block &body;
  SmallVector<Storage> storage;
  StringRef line;
  bool isAverage;
  Type f64;
  Values ones, broadcasts, memories;
  Value result, keep, take;
};

} // namespace

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  if (failed(checkMapBody(kernel.getBody().front())))
    return failure();
  const size_t floats =
      kernel.integers("ones").size() + lora::KernelOp::storageOf(kernel.getParams()).size() + 1;
  SmallVector<MemRefType> buffers{Matrices::type(builder.getI32Type())};
  buffers.append(floats, KernelBuilder::dense({flat}, builder.getF32Type()));
  KernelBuilder k(kernel, builder, target, buffers);
  MeanKernel means(k, kernel);
  forEachRow(k, kernel.getTile(), [&](Value index) { means.parameter(index); });
  return success();
}

static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::meanLinesFamily = {
    "mean_lines", "the mean of a function over each row, column or parameter", describe, build,
    flops};
