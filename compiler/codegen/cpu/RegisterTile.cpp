#include "compiler/codegen/cpu/RegisterTile.h"
#include "compiler/codegen/cpu/Families.h"

using namespace mlir;
using namespace lorac::cpu;
using Values = KernelBuilder::Values;

RegisterTile RegisterTile::forColumns(const CpuTarget &target, int64_t columns) {
  int64_t lanes = target.vectorLanes;
  int64_t vectors = std::min(16 / lanes, ceilDiv(columns, lanes));
  if (lanes == 8)
    return {vectors == 2 ? 6 : 12, vectors, lanes};
  // 16 registers of 4 lanes: `vectors` of B, a broadcast and a product beside the tile.
  static constexpr int64_t heights[] = {0, 8, 4, 3, 2};
  return {heights[vectors], vectors, lanes};
}

TileValues lorac::cpu::accumulate(KernelBuilder &k, int64_t height, int64_t vectors, Value from,
                                  Value to, int64_t multiple, TileValues tile,
                                  llvm::function_ref<Value(int64_t, Value)> a,
                                  llvm::function_ref<Value(int64_t, Value)> b,
                                  llvm::function_ref<void(Value)> ahead) {
  if (multiple == 0) {
    Value whole = k.add(from, k.mul(k.div(k.sub(to, from), 4), 4));
    tile = accumulate(k, height, vectors, from, whole, 4, tile, a, b, ahead);
    return accumulate(k, height, vectors, whole, to, 1, tile, a, b);
  }
  int64_t unroll = 1;
  while (unroll < 4 && multiple % (2 * unroll) == 0)
    unroll *= 2;
  return k.forLoop(from, to, unroll, tile, [&](Value start, ValueRange carried) {
    TileValues sums(carried);
    if (ahead)
      ahead(start);
    for (int64_t u = 0; u < unroll; ++u) {
      Value s = k.add(start, u);
      Values bs;
      for (int64_t v = 0; v < vectors; ++v)
        bs.push_back(b(v, s));
      for (int64_t r = 0; r < height; ++r) {
        Value scalar = k.broadcast(a(r, s));
        for (int64_t v = 0; v < vectors; ++v)
          sums[r * vectors + v] = k.fma(scalar, bs[v], sums[r * vectors + v]);
      }
    }
    return sums;
  });
}

void lorac::cpu::forRowTiles(KernelBuilder &k, int64_t height, Value from, Value to,
                             llvm::function_ref<void(int64_t, Value)> body) {
  Value whole = k.mul(k.div(k.sub(to, from), height), height);
  Value next = k.add(from, whole);
  k.forLoop(from, next, height, [&](Value row) { body(height, row); });
  int64_t part = 1;
  while (2 * part < height)
    part *= 2;
  for (; height > 1 && part >= 1; part /= 2) {
    Value after = k.add(next, part);
    Value fits = k.cmpi(arith::CmpIPredicate::sle, after, to);
    k.ifThen(fits, [&] { body(part, next); });
    next = k.select(fits, after, next);
  }
}

// Interleaves pairs, then pairs of pairs; masks are those of unpcklps, unpckhps, shufpd and
// vperm2f128.
Values lorac::cpu::transpose(KernelBuilder &k, Values rows) {
  int64_t lanes = rows.size();
  auto interleave = [&](int64_t distance, ArrayRef<int64_t> low, ArrayRef<int64_t> high) {
    Values next(lanes);
    for (int64_t i = 0; i < lanes; ++i)
      if ((i & distance) == 0) {
        next[i] = k.shuffle(rows[i], rows[i + distance], low);
        next[i + distance] = k.shuffle(rows[i], rows[i + distance], high);
      }
    rows = next;
  };
  if (lanes == 4) {
    interleave(1, {0, 4, 2, 6}, {1, 5, 3, 7});
    interleave(2, {0, 1, 4, 5}, {2, 3, 6, 7});
    return rows;
  }
  assert(lanes == 8 && "vectors have 4 or 8 lanes");
  interleave(1, {0, 8, 2, 10, 4, 12, 6, 14}, {1, 9, 3, 11, 5, 13, 7, 15});
  interleave(2, {0, 1, 8, 9, 4, 5, 12, 13}, {2, 3, 10, 11, 6, 7, 14, 15});
  interleave(4, {0, 1, 2, 3, 8, 9, 10, 11}, {4, 5, 6, 7, 12, 13, 14, 15});
  return rows;
}
