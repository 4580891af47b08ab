#include "compiler/codegen/cpu/PanelGemm.h"

using namespace mlir;
using namespace lorac::cpu;

void PanelGemm::buildTile(KernelBuilder &k, int64_t height, Value row, Value panel, Value group, Value from, Value to) {
  Value column = k.mul(panel, tile.width());
  auto at = [&](Value memory, int64_t r, int64_t v) {
    return k.vload(memory, {k.add(row, r), k.add(column, v * tile.lanes)});
  };
  auto loadTile = [&](Value memory) {
    TileValues values;
    for (int64_t r = 0; r < height; ++r)
      for (int64_t v = 0; v < tile.vectors; ++v)
        values.push_back(memory ? at(memory, r, v) : k.splatF32(0.0));
    return values;
  };
  bool oneBlock = steps <= blocks.depth;
  TileValues values;
  if (oneBlock || start == c)
    values = loadTile(start);
  else
    values = k.ifElse(
        k.equal(from, k.index(0)), {}, [&] { return loadTile(start); }, [&] { return loadTile(c); });
  values = accumulate(
      k, height, tile.vectors, from, to, steps, values, [&](int64_t r, Value s) { return k.load(a, {k.add(row, r), s}); },
      [&](int64_t v, Value s) { return panelAt(panel, group, s, from, v); });
  if (extraSteps > 0) {
    Value extra = k.index(extraSteps);
    if (!oneBlock)
      extra = k.select(k.equal(to, k.index(steps)), extra, k.index(0));
    values = accumulate(
        k, height, tile.vectors, k.index(0), extra, extraSteps, values,
        [&](int64_t r, Value s) { return k.load(extraA, {k.add(row, r), s}); },
        [&](int64_t v, Value s) { return extraAt(panel, group, s, v); });
  }
  for (int64_t r = 0; r < height; ++r)
    for (int64_t v = 0; v < tile.vectors; ++v)
      k.vstore(values[r * tile.vectors + v], c, {k.add(row, r), k.add(column, v * tile.lanes)});
}

void PanelGemm::build(KernelBuilder &k, Value firstPanel, Value lastPanel, Value firstRow, Value lastRow) {
  k.forLoop(firstPanel, lastPanel, blocks.group, [&](Value group) {
    Value groupEnd = k.min(k.add(group, blocks.group), lastPanel);
    if (extraSteps > 0)
      packExtra(group, groupEnd);
    k.forLoop(k.index(0), k.index(steps), blocks.depth, [&](Value from) {
      Value to = k.min(k.add(from, blocks.depth), k.index(steps));
      if (pack)
        pack(group, groupEnd, from, to);
      k.forLoop(firstRow, lastRow, blocks.rows, [&](Value rowBlock) {
        Value rowEnd = k.min(k.add(rowBlock, blocks.rows), lastRow);
        k.forLoop(group, groupEnd, 1, [&](Value panel) {
          forRowTiles(k, tile.height, rowBlock, rowEnd,
                      [&](int64_t height, Value row) { buildTile(k, height, row, panel, group, from, to); });
        });
      });
    });
  });
}
