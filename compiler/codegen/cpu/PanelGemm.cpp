#include "compiler/codegen/cpu/PanelGemm.h"
#include "compiler/codegen/cpu/Families.h"
#include <numeric>

using namespace mlir;
using namespace lorac::cpu;

GemmBlocks GemmBlocks::forProduct(int64_t steps, int64_t panels) {
  GemmBlocks blocks{roundUp(ceilDiv(steps, ceilDiv(steps, 576)), 64)};
  if (steps >= 8192)
    blocks.panelsOfTile = std::clamp<int64_t>(panels / 4, 1, blocks.group);
  return blocks;
}

// Sets and ways of an L2 of 1 MB: rows a multiple of 128 KB apart meet in one set.
static constexpr int64_t l2Period = 128 * 1024, l2Ways = 8;

int64_t GemmBlocks::copyOfA(int64_t lda) const {
  int64_t rowsThatFit = l2Period / std::gcd(lda * 4, l2Period) * l2Ways;
  return rowsThatFit >= rows ? 0 : rows * (depth + 16);
}

// Below this many steps the tile of C costs more than A, and asking for A is in the way.
static constexpr int64_t stepsWorthPrefetching = 64;

void PanelGemm::useCopy(KernelBuilder &k, int64_t scratchOffset) {
  copy = k.scratchF32(scratchOffset, {blocks.rows, blocks.depth + 16});
}

void PanelGemm::panelsFrom(KernelBuilder &k, Value packed) {
  panelAt = [&k, packed](Value panel, Value first, Value s, Value from, int64_t v) {
    return k.vload(packed, {k.sub(panel, first), k.sub(s, from), k.index(v * k.lanes())});
  };
}

void PanelGemm::extraFrom(KernelBuilder &k, Value n, Matrix a, Value packed) {
  extraSteps = n;
  extraA = a;
  extraAt = [this, &k, packed](Value panel, Value first, Value s, int64_t v) {
    return k.vload(packed, {atExtra(k, k.sub(panel, first), s, k.index(v * k.lanes()))});
  };
}

Value PanelGemm::atExtra(KernelBuilder &k, Value slot, Value s, Value lane) {
  return k.add(k.mul(k.add(k.mul(slot, extraSteps), s), tile.width()), lane);
}

void PanelGemm::copyBlock(KernelBuilder &k, const Place &place, Value rowEnd) {
  int64_t lanes = k.lanes();
  Value whole = k.add(place.from, k.mul(k.div(k.sub(place.to, place.from), lanes), lanes));
  k.forLoop(place.rowBlock, rowEnd, 1, [&](Value row) {
    Value target = k.sub(row, place.rowBlock);
    k.forLoop(place.from, whole, lanes, [&](Value s) {
      k.vstore(k.vload(a.memory, k.at(a, row, s)), copy, {target, k.sub(s, place.from)});
    });
    k.forLoop(whole, place.to, 1, [&](Value s) {
      k.store(k.load(a.memory, k.at(a, row, s)), copy, {target, k.sub(s, place.from)});
    });
  });
}

void PanelGemm::buildTile(KernelBuilder &k, int64_t height, Value row, Value panel,
                          const Place &place) {
  Value column = k.mul(panel, tile.width());
  auto at = [&](const Matrix &matrix, int64_t r, int64_t v) {
    return k.vload(matrix.memory, k.at(matrix, k.add(row, r), k.add(column, v * tile.lanes)));
  };
  auto loadTile = [&](const Matrix &matrix) {
    TileValues values;
    for (int64_t r = 0; r < height; ++r)
      for (int64_t v = 0; v < tile.vectors; ++v)
        values.push_back(matrix.memory ? at(matrix, r, v) : k.splatF32(0.0));
    return values;
  };
  bool oneBlock = !stepsAtRun && steps <= blocks.depth;
  TileValues values;
  if (oneBlock || start.memory == c.memory)
    values = loadTile(start);
  else
    values = k.ifElse(
        k.equal(place.from, k.index(0)), {}, [&] { return loadTile(start); },
        [&] { return loadTile(c); });
  auto scalarOfA = [&](int64_t r, Value s) {
    return copy ? k.load(copy, {k.add(k.sub(row, place.rowBlock), r), k.sub(s, place.from)})
                : k.load(a.memory, k.at(a, k.add(row, r), s));
  };
  // The rows of the next tile: hardware does not see so many short streams coming.
  auto nextRows = [&](Value s) {
    for (int64_t r = 0; r < height && !copy && steps >= stepsWorthPrefetching; ++r)
      k.prefetch(a.memory, k.at(a, k.add(row, height + r), s));
  };
  values = accumulate(
      k, height, tile.vectors, place.from, place.to, stepsAtRun ? 0 : steps, values, scalarOfA,
      [&](int64_t v, Value s) { return panelAt(panel, place.group, s, place.from, v); }, nextRows);
  if (extraSteps) {
    Value extra = extraSteps;
    if (!oneBlock)
      extra = k.select(k.equal(place.to, allSteps(k)), extra, k.index(0));
    values = accumulate(
        k, height, tile.vectors, k.index(0), extra, 0, values,
        [&](int64_t r, Value s) { return k.load(extraA.memory, k.at(extraA, k.add(row, r), s)); },
        [&](int64_t v, Value s) { return extraAt(panel, place.group, s, v); });
  }
  for (int64_t v = 0; v < tile.vectors; ++v) {
    Value first = k.add(column, v * tile.lanes);
    Value live = columns ? k.mask(k.sub(columns, first)) : Value();
    for (int64_t r = 0; r < height; ++r) {
      Value value = values[r * tile.vectors + v];
      const KernelBuilder::Values place = k.at(c, k.add(row, r), first);
      if (live)
        k.vstoreMasked(value, c.memory, place, live);
      else
        k.vstore(value, c.memory, place);
    }
  }
}

void PanelGemm::buildTiles(KernelBuilder &k, int64_t panels) {
  Value first = k.mul(k.begin(), blocks.panelsOfTile);
  Value last = k.min(k.mul(k.end(), blocks.panelsOfTile), k.index(panels));
  build(k, first, last, k.index(0), k.rows());
}

void PanelGemm::build(KernelBuilder &k, Value firstPanel, Value lastPanel, Value firstRow,
                      Value lastRow) {
  // Few steps: C is what moves, so its rows are walked along; else panels stay while A's rows go
  // by.
  // Steps that are known at run time only are ranks.
  int64_t rowsOfBlock = steps < stepsWorthPrefetching ? tile.height : blocks.rows;
  k.forLoop(firstPanel, lastPanel, blocks.group, [&](Value group) {
    Value groupEnd = k.min(k.add(group, blocks.group), lastPanel);
    if (extraSteps)
      packExtra(group, groupEnd);
    k.forLoop(k.index(0), allSteps(k), blocks.depth, [&](Value from) {
      Value to = k.min(k.add(from, blocks.depth), allSteps(k));
      if (pack)
        pack(group, groupEnd, from, to);
      k.forLoop(firstRow, lastRow, rowsOfBlock, [&](Value rowBlock) {
        Value rowEnd = k.min(k.add(rowBlock, rowsOfBlock), lastRow);
        Place place{group, from, to, rowBlock};
        if (copy)
          copyBlock(k, place, rowEnd);
        k.forLoop(group, groupEnd, 1, [&](Value panel) {
          forRowTiles(k, tile.height, rowBlock, rowEnd,
                      [&](int64_t height, Value row) { buildTile(k, height, row, panel, place); });
        });
      });
    });
  });
}
