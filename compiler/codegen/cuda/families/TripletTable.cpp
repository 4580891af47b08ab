#include "compiler/codegen/cuda/families/TripletTable.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac::cuda;

Triplets lorac::cuda::tripletsOfBlock(DeviceBuilder &d, Value table) {
  Int entry = d.named("entry", d.blockX() * int64_t(sizeof(LoracTriplets) / sizeof(int32_t)));
  auto field = [&](StringRef name, size_t offset) {
    return d.named(name, d.loadInt(table, {entry + int64_t(offset / sizeof(int32_t))}));
  };
#define FIELD(name) field(#name, offsetof(LoracTriplets, name))
  return {FIELD(a),  FIELD(b),   FIELD(e),        FIELD(rank),
          FIELD(in), FIELD(out), FIELD(unfolded), FIELD(first)};
#undef FIELD
}

void lorac::cuda::sumColumns(DeviceBuilder &d, const Triplets &of,
                             llvm::function_ref<Num(Int, Int)> term,
                             llvm::function_ref<void(Int, Num)> use) {
  sumColumns(
      d, of.out, of.rank,
      [&](Int row, Int column) {
        return term(d.named("at", of.b + row * of.rank + column), column);
      },
      use);
}

void lorac::cuda::sumColumns(DeviceBuilder &d, Int rows, Int columns,
                             llvm::function_ref<Num(Int, Int)> term,
                             llvm::function_ref<void(Int, Num)> use) {
  Type f64 = d.builder().getF64Type();
  Value sums = d.shared("sums_of_threads", tripletThreads, f64);
  // Once, where no matrix has more columns than a block threads.
  d.loop("first_column", d.constant(0), columns, tripletThreads, [&](Int firstColumn) {
    Int width = d.named("width", min(columns - firstColumn, d.constant(tripletThreads)));
    Int groups = d.named("groups", d.constant(tripletThreads) / width);
    Int group = d.named("group", d.thread() / width),
        column = d.named("column", firstColumn + d.thread() % width);
    Value sum = d.variable("sum", d.number(0, f64));
    d.where(group < groups, [&] {
      d.loopBy("row", group, rows, groups,
               [&](Int row) { d.set(sum, d.get(sum) + term(row, column)); });
    });
    d.store(d.get(sum), sums, {d.thread()});
    d.barrier();
    d.where(d.thread() < width, [&] {
      Value total = d.variable("total", d.number(0, f64));
      d.loop("g", d.constant(0), groups, 1, [&](Int g) {
        d.set(total, d.get(total) + d.loadNum(sums, {g * width + d.thread()}));
      });
      use(column, d.get(total));
    });
    d.barrier();
  });
}
