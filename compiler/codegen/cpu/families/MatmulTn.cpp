// C[i,j] [+]= scale·Σm A[m,i]·B[m,j]: gradients of the factors. The sum over rows is one ascending
// chain an element, so threads share the columns or the rows of C, never the sum.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/RegisterTile.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace {

/// Scratch: the strip scale·B `[sumBlock][width]`, where the scale is not 1.
struct MatmulTiling {
  RegisterTile tile;
  bool byColumns;         ///< tiles of the launch are panels of columns; else groups of rows of C
  int64_t rowsOfGroup;    ///< rows of C that go over one strip of A
  int64_t sumBlock = 192; ///< rows of A and B that stay in cache while C's tiles go by
  int64_t panels = 0, groups = 0; ///< 0: known at run time only
  int64_t count, bytes;

  // A dimension that comes with the launch is a rank, the smaller one; of two ranks the columns are
  // shared by so many tiles.
  static constexpr int64_t sharesOfRank = 4;

  MatmulTiling(const CpuTarget &target, DictionaryAttr params)
      : tile(RegisterTile::forColumns(target,
                                      intParam(params, params.contains("j") ? "j" : "columns"))),
        rowsOfGroup(4 * tile.height), bytes(roundUp(sumBlock * tile.width() * 4, 64)) {
    const bool knowsRows = params.contains("i"), knowsColumns = params.contains("j");
    if (knowsRows)
      groups = ceilDiv(intParam(params, "i"), rowsOfGroup);
    if (knowsColumns)
      panels = ceilDiv(intParam(params, "j"), tile.width());
    byColumns =
        knowsRows && knowsColumns ? intParam(params, "j") >= intParam(params, "i") : !knowsRows;
    count = byColumns ? (knowsColumns ? panels : sharesOfRank) : groups;
  }
};

FailureOr<KernelShape> describe(Location, DictionaryAttr params, const CpuTarget &target) {
  MatmulTiling tiling(target, params);
  return KernelShape{lora::TileSpace::Const, 1, tiling.count, tiling.bytes};
}

struct Builder {
  KernelBuilder &k;
  const MatmulTiling &tiling;
  bool wholePanels;
  Matrix a, b, c;
  Value strip;
  bool accumulates, scales;

  // The lanes of C's last panel that exist; null for whole panels.
  Value maskOf(Value column) { return wholePanels ? Value() : k.mask(k.sub(k.param("j"), column)); }

  // One tile of C over rows [from, to) of A and B.
  void tile(int64_t height, Value row, Value panel, Value from, Value to) {
    Value column = k.mul(panel, tiling.tile.width());
    auto columnOf = [&](int64_t v) { return k.add(column, v * k.lanes()); };
    SmallVector<Value> masks;
    for (int64_t v = 0; v < tiling.tile.vectors; ++v)
      masks.push_back(maskOf(columnOf(v)));
    auto load = [&] {
      TileValues values;
      for (int64_t r = 0; r < height; ++r)
        for (int64_t v = 0; v < tiling.tile.vectors; ++v) {
          const KernelBuilder::Values at = k.at(c, k.add(row, r), columnOf(v));
          values.push_back(masks[v] ? k.vloadMasked(c.memory, at, masks[v])
                                    : k.vload(c.memory, at));
        }
      return values;
    };
    TileValues values;
    if (accumulates)
      values = load();
    else
      values = k.ifElse(
          k.equal(from, k.index(0)), {},
          [&] { return TileValues(height * tiling.tile.vectors, k.splatF32(0.0)); }, load);
    auto broadcastOf = [&](int64_t r, Value m) {
      return k.load(a.memory, k.at(a, m, k.add(row, r)));
    };
    auto vectorOf = [&](int64_t v, Value m) {
      return scales ? k.vload(strip, {k.sub(m, from), k.index(v * k.lanes())})
                    : k.vload(b.memory, k.at(b, m, columnOf(v)));
    };
    // The next strips' lines, row by row: no stream that hardware would follow.
    auto nextStrips = [&](Value m) {
      for (int64_t u = 0; u < 4; ++u) {
        if (tiling.panels > 1)
          k.prefetch(b.memory, k.at(b, k.add(m, u), k.add(column, tiling.tile.width())));
        if (tiling.groups > 1)
          k.prefetch(a.memory, k.at(a, k.add(m, u), k.add(row, tiling.rowsOfGroup)));
      }
    };
    values = accumulate(k, height, tiling.tile.vectors, from, to, 0, values, broadcastOf, vectorOf,
                        nextStrips);
    for (int64_t r = 0; r < height; ++r)
      for (int64_t v = 0; v < tiling.tile.vectors; ++v) {
        const KernelBuilder::Values at = k.at(c, k.add(row, r), columnOf(v));
        if (masks[v])
          k.vstoreMasked(values[r * tiling.tile.vectors + v], c.memory, at, masks[v]);
        else
          k.vstore(values[r * tiling.tile.vectors + v], c.memory, at);
      }
  }

  // scale·B for rows [from, to) and one panel.
  void packStrip(Value panel, Value from, Value to, double scale) {
    k.forLoop(from, to, 1, [&](Value m) {
      for (int64_t v = 0; v < tiling.tile.vectors; ++v) {
        Value column = k.add(k.mul(panel, tiling.tile.width()), v * k.lanes());
        k.vstore(k.mulf(k.vload(b.memory, k.at(b, m, column)), k.splatF32(scale)), strip,
                 {k.sub(m, from), k.index(v * k.lanes())});
      }
    });
  }
};

LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  double scale = kernel.floatParam("scale");
  MatmulTiling tiling(target, kernel.getParams());
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::rowsOf(kernel, "lda"), KernelBuilder::rowsOf(kernel, "ldb"),
                   KernelBuilder::rowsOf(kernel, "ldc")});
  const bool knowsColumns = !isScalar(kernel, "j");
  Builder product{k,
                  tiling,
                  knowsColumns && kernel.intParam("j") % tiling.tile.width() == 0,
                  k.matrix(0, "lda"),
                  k.matrix(1, "ldb"),
                  k.matrix(2, "ldc")};
  product.strip = k.scratchF32(0, {tiling.sumBlock, tiling.tile.width()});
  product.scales = scale != 1.0;
  product.accumulates = kernel.intParam("accumulate") != 0;

  Value i = k.param("i"), firstRow = k.index(0), lastRow = i, firstPanel = k.index(0),
        lastPanel = k.ceilDiv(k.param("j"), tiling.tile.width());
  if (tiling.byColumns && knowsColumns) {
    firstPanel = k.begin();
    lastPanel = k.end();
  } else if (tiling.byColumns) {
    Value panels = lastPanel;
    firstPanel = k.div(k.mul(k.begin(), panels), MatmulTiling::sharesOfRank);
    lastPanel = k.div(k.mul(k.end(), panels), MatmulTiling::sharesOfRank);
  } else {
    firstRow = k.mul(k.begin(), tiling.rowsOfGroup);
    lastRow = k.min(k.mul(k.end(), tiling.rowsOfGroup), i);
  }
  // At least one block, so that an empty sum stores 0 where it does not accumulate.
  k.forLoop(k.index(0), k.max(k.rows(), k.index(1)), tiling.sumBlock, [&](Value from) {
    Value to = k.min(k.add(from, tiling.sumBlock), k.rows());
    k.forLoop(firstRow, lastRow, tiling.rowsOfGroup, [&](Value group) {
      Value groupEnd = k.min(k.add(group, tiling.rowsOfGroup), lastRow);
      k.forLoop(firstPanel, lastPanel, 1, [&](Value panel) {
        if (product.scales)
          product.packStrip(panel, from, to, scale);
        forRowTiles(k, tiling.tile.height, group, groupEnd,
                    [&](int64_t height, Value row) { product.tile(height, row, panel, from, to); });
      });
    });
  });
  return success();
}

int64_t flops(DictionaryAttr params, int64_t rows) {
  if (!params.contains("i") || !params.contains("j"))
    return 0; // the launch says them
  return 2 * rows * intParam(params, "i") * intParam(params, "j");
}

} // namespace

namespace lorac::cpu {
extern const Family matmulTnFamily;
const Family matmulTnFamily{"matmul_tn", "C[i,j] [+]= scale·Σm A[m,i]·B[m,j]", describe, build,
                            flops};
} // namespace lorac::cpu
