#include "compiler/codegen/cuda/families/Pieces.h"

using namespace mlir;
using namespace lorac::cuda;

static bool isWide(Value memory) {
  return cast<MemRefType>(memory.getType()).getElementType().isF32();
}

Value Pieces::loadPairs(StringRef name, Value from, Int row, Int col) {
  Value pairs = d.local(name, {4}, d.word());
  if (!ragged() && isWide(from)) {
    Value numbers = load("wide", from, row, col);
    packPairs(numbers, pairs);
    return pairs;
  }
  if (!ragged()) {
    d.copy(from, {row + col}, pairs, {d.constant(0)}, 16);
    return pairs;
  }
  d.unrolled("pair", 4, [&](Int pair) {
    auto one = [&](Int at) { return d.loadWhere("one", at < columns, from, {row + at}); };
    Num low = one(col + pair * 2);
    d.store(d.pack(low, one(col + pair * 2 + 1)), pairs, {pair});
  });
  return pairs;
}

void Pieces::packPairs(Value numbers, Value pairs) {
  d.unrolled("pair", 4, [&](Int pair) {
    Num low = d.loadNum(numbers, {pair * 2});
    d.store(d.pack(low, d.loadNum(numbers, {pair * 2 + 1})), pairs, {pair});
  });
}

Value Pieces::load(StringRef name, Value from, Int row, Int col) {
  Value numbers = d.local(name, {size}, d.f32());
  if (ragged()) {
    d.unrolled("e", size, [&](Int e) {
      d.store(d.loadWhere("one", col + e < columns, from, {row + col + e}), numbers, {e});
    });
  } else if (isWide(from)) {
    for (int64_t half = 0; half < 2; ++half)
      d.copy(from, {row + col + half * 4}, numbers, {d.constant(half * 4)}, 16);
  } else {
    Value pairs = loadPairs((name + "_pairs").str(), from, row, col);
    d.unrolled("pair", 4, [&](Int pair) {
      Value both = d.namedWord("both", d.loadWord(pairs, {pair}));
      d.store(d.unpack(both, false), numbers, {pair * 2});
      d.store(d.unpack(both, true), numbers, {pair * 2 + 1});
    });
  }
  return numbers;
}

void Pieces::store(Value numbers, Value to, Int row, Int col) {
  if (ragged()) {
    d.unrolled("e", size, [&](Int e) {
      d.where(col + e < columns, [&] { d.store(d.loadNum(numbers, {e}), to, {row + col + e}); });
    });
  } else if (isWide(to)) {
    for (int64_t half = 0; half < 2; ++half)
      d.copy(numbers, {d.constant(half * 4)}, to, {row + col + half * 4}, 16);
  } else {
    Value pairs = d.local("packed", {4}, d.word());
    packPairs(numbers, pairs);
    d.copy(pairs, {d.constant(0)}, to, {row + col}, 16);
  }
}
