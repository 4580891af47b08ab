#include "compiler/codegen/cpu/families/AttentionProducts.h"

using namespace mlir;
using namespace lorac::cpu;

using Values = KernelBuilder::Values;

void lorac::cpu::accumulateRows(KernelBuilder &k, Value row, int64_t columns, Value first,
                                Value last, llvm::function_ref<Value(int64_t, Value)> a,
                                const Submatrix &b, const Submatrix &c) {
  int64_t rows = tileRows(k);
  auto strip = [&](Value column, int64_t width) {
    int64_t vectors = width / k.lanes();
    auto inC = [&](int64_t r, int64_t v) {
      return c.at(k, k.add(row, r), k.add(column, v * k.lanes()));
    };
    Values init;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = 0; v < vectors; ++v)
        init.push_back(k.vload(c.memory, inC(r, v)));
    Values sums = accumulate(k, rows, vectors, first, last, 1, init, a, [&](int64_t v, Value kk) {
      return k.vload(b.memory, b.at(k, kk, k.add(column, v * k.lanes())));
    });
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t v = 0; v < vectors; ++v)
        k.vstore(sums[r * vectors + v], c.memory, inC(r, v));
  };
  int64_t whole = columns / tileColumns * tileColumns;
  if (whole > 0)
    k.forLoop(k.index(0), k.index(whole), tileColumns,
              [&](Value column) { strip(column, tileColumns); });
  if (whole < columns)
    strip(k.index(whole), columns - whole);
}

void lorac::cpu::packKeys(KernelBuilder &k, const Submatrix &source, Value count, int64_t dim,
                          Value packed) {
  int64_t lanes = k.lanes(), whole = dim / lanes * lanes;
  Value last = k.sub(count, 1);
  k.forLoop(k.index(0), count, lanes, [&](Value key) {
    Value panel = k.div(key, tileColumns), lane = k.rem(key, tileColumns);
    Values keys;
    for (int64_t r = 0; r < lanes; ++r)
      keys.push_back(k.min(k.add(key, r), last));
    if (whole > 0)
      k.forLoop(k.index(0), k.index(whole), lanes, [&](Value column) {
        Values rows;
        for (Value row : keys)
          rows.push_back(k.vload(source.memory, source.at(k, row, column)));
        for (auto [i, vector] : llvm::enumerate(transpose(k, rows)))
          k.vstore(vector, packed, {panel, k.add(column, i), lane});
      });
    if (whole < dim)
      k.forLoop(k.index(whole), k.index(dim), 1, [&](Value column) {
        for (auto [r, row] : llvm::enumerate(keys))
          k.store(k.load(source.memory, source.at(k, row, column)), packed,
                  {panel, column, k.add(lane, r)});
      });
  });
}

void lorac::cpu::copyRows(KernelBuilder &k, const Submatrix &source, const Submatrix &target,
                          Value count, int64_t columns, int64_t padded,
                          llvm::function_ref<Value(Value, Value)> change) {
  int64_t whole = columns / k.lanes() * k.lanes();
  k.forLoop(k.index(0), count, 1, [&](Value row) {
    auto changed = [&](Value values) { return change ? change(row, values) : values; };
    if (whole > 0)
      k.forLoop(k.index(0), k.index(whole), k.lanes(), [&](Value column) {
        k.vstore(changed(k.vload(source.memory, source.at(k, row, column))), target.memory,
                 target.at(k, row, column));
      });
    if (whole < columns)
      k.forLoop(k.index(whole), k.index(columns), 1, [&](Value column) {
        k.store(changed(k.load(source.memory, source.at(k, row, column))), target.memory,
                target.at(k, row, column));
      });
    if (columns < padded)
      k.forLoop(k.index(columns), k.index(padded), 1, [&](Value column) {
        k.store(k.constF32(0), target.memory, target.at(k, row, column));
      });
  });
}

void lorac::cpu::zeroRows(KernelBuilder &k, const Submatrix &target, Value count, int64_t columns) {
  k.forLoop(k.index(0), count, 1, [&](Value row) {
    k.forLoop(k.index(0), k.index(columns), k.lanes(), [&](Value column) {
      k.vstore(k.splatF32(0), target.memory, target.at(k, row, column));
    });
  });
}
