// The gradients of an adapter's factors: dA = dtᵀ·x, dB = dyᵀ·t, sums over the rows.

#include "compiler/codegen/cuda/families/Pieces.h"
#include "compiler/codegen/cuda/families/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family matmulTnFamily;
}

namespace {

constexpr int64_t Strip = 64; // of the long operand's columns
// Of the short operand's, that a block takes.
int64_t shortColumns(int64_t columns) { return partColumns(columns, 32, columns <= 8 ? 8 : 16); }

// A block takes a strip of the long operand's columns, a warp 16 rows of it at a time. Lane
// l loads columns 8 (l / 4).. of four rows from 4 (l % 4) on. As a product of Strip / 16 tiles, 16
// rows deep: column 2t of the eight is row l / 4 of tile t, column 2t + 1 the eighth behind it; the
// four rows are the depth's two pairs. Of the short operand's columns, 2n and 2n + 1 of sixteen are
// column n of two tiles, where they can be loaded as one word (`paired`).
class OverRows {
public:
  explicit OverRows(Kernel &kernel)
      : kernel(kernel), i(kernel.integer("i")), j(kernel.integer("j")), longIsA(i > j),
        longCols(longIsA ? i : j), shortCols(longIsA ? j : i), columns(shortColumns(shortCols)),
        ldLong(kernel.integer(longIsA ? "lda" : "ldb")),
        ldShort(kernel.integer(longIsA ? "ldb" : "lda")),
        paired(columns % 16 == 0 && shortCols % 2 == 0 && kernel.flag("even") &&
               !kernel.element(longIsA ? 1 : 0).isF32()),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), productThreads,
          kernel.compute(),
          {kernel.argument("a", 0), kernel.argument("b", 1), kernel.argument("c", 2, true)}),
        rows(d.rows()), firstCol(rows), firstShort(rows), group(d.named("group", d.lane() / 4)) {
    Value a = d.next(), b = d.next();
    c = d.next();
    longer = longIsA ? a : b, shorter = longIsA ? b : a;
  }

  void build() {
    firstCol = d.named("first_col", d.blockX() * Strip);
    firstShort = d.named("first_short", d.blockY() * columns);
    d.fewBlocks();
    BlockSum sum(d, Strip, columns);
    Value sums = zeroSums(d, Strip / 16, columns / 8);
    Int four = d.named("four", d.lane() % 4);
    walkDepth(
        d, rows, 16, 2,
        [&](Int deep) {
          Int row = d.named("row", deep + four * 4);
          Value left = loadLong(row);
          return Operands{left, paired ? loadPaired(row) : loadShort(row)};
        },
        [&](Operands operands) { multiply(sums, operands); });
    sum.put(sums);
    sum.each([&](Int e) { // a row of c side by side
      Int inLong = longIsA ? e / columns : e % 8 * 8 + e / (8 * columns),
          inShort = longIsA ? e % columns : e / 8 % columns;
      Int longAt = d.named("long_col", firstCol + inLong % 8 * 8 + inLong / 8),
          shortAt = d.named("short_col", firstShort + (paired ? pairedColumn(inShort) : inShort));
      d.where(longAt < longCols && shortAt < shortCols, [&] {
        int64_t ldc = kernel.integer("ldc");
        Int place = d.named("place", longIsA ? longAt * ldc + shortAt : shortAt * ldc + longAt);
        storeSum(kernel, d, c, place, sum.at(inLong, inShort));
      });
    });
  }

private:
  // [row][4]: pairs of columns.
  Value loadLong(Int row) {
    Value words = d.local("long_words", {4, 4}, d.word());
    d.unrolled("q", 4, [&](Int q) {
      // Rows behind the last are the last's: they meet zeros of the short operand.
      Int at = min(row + q, rows - d.constant(1));
      Int col = d.named("long_col", firstCol + group * 8);
      if (longCols % Strip &&
          longCols % 8 == 0) // sums of columns that are not there are not written
        col = min(col, d.constant(longCols - 8));
      Value eight = Pieces(d, longCols, rowsAligned(kernel, longIsA ? 0 : 1))
                        .loadPairs("eight", longer, at * ldLong, col);
      for (int64_t word = 0; word < 4; ++word)
        d.store(d.loadWord(eight, {d.constant(word)}), words, {q, d.constant(word)});
    });
    return words;
  }

  // [column tile][2]: pairs of rows.
  Value loadShort(Int row) {
    Value words = d.local("short_words", {columns / 8, 2}, d.word());
    d.unrolled("tile", columns / 8, [&](Int tile) {
      Int col = d.named("short_col", min(firstShort + tile * 8 + group, d.constant(shortCols - 1)));
      d.unrolled("pair", 2, [&](Int pair) {
        auto one = [&](Int at) {
          return d.loadWhere("one", at < rows, shorter, {at * ldShort + col});
        };
        Num low = one(row + pair * 2);
        d.store(d.pack(low, one(row + pair * 2 + 1)), words, {tile, pair});
      });
    });
    return words;
  }

  // The same of two tiles at a time.
  Value loadPaired(Int row) {
    Value words = d.local("short_words", {columns / 8, 2}, d.word());
    d.unrolled("two", columns / 16, [&](Int two) {
      Int col = d.named("short_col", firstShort + two * 16 + group * 2);
      Value pairs = d.local("column_pairs", {4}, d.word());
      d.unrolled("q", 4, [&](Int q) {
        d.store(d.pack(d.number(0), d.number(0)), pairs, {q});
        Bool there = row + q < rows;
        if (shortCols % columns)
          there = there && col < shortCols;
        d.where(there, [&] { d.copy(shorter, {(row + q) * ldShort + col}, pairs, {q}, 4); });
      });
      d.unrolled("pair", 2, [&](Int pair) {
        for (int64_t high = 0; high < 2; ++high)
          d.store(d.zip(d.loadWord(pairs, {pair * 2}), d.loadWord(pairs, {pair * 2 + 1}), high),
                  words, {two * 2 + high, pair});
      });
    });
    return words;
  }

  void multiply(Value sums, Operands operands) {
    Value fragments = d.local("fragments", {Strip / 16, 4}, d.word());
    d.unrolled("i", Strip / 16, [&](Int i) {
      for (int64_t pair = 0; pair < 2; ++pair)
        for (int64_t high = 0; high < 2; ++high)
          d.store(d.zip(d.loadWord(operands.left, {d.constant(2 * pair), i}),
                        d.loadWord(operands.left, {d.constant(2 * pair + 1), i}), high),
                  fragments, {i, d.constant(2 * pair + high)});
      d.unrolled("tile", columns / 8, [&](Int tile) {
        d.mma(sums, {i, tile}, fragments, {i}, d.loadWord(operands.right, {tile, d.constant(0)}),
              d.loadWord(operands.right, {tile, d.constant(1)}));
      });
    });
  }

  Kernel &kernel;
  int64_t i, j;
  bool longIsA;
  int64_t longCols, shortCols, columns, ldLong, ldShort;
  bool paired;
  DeviceBuilder d;
  Value longer, shorter, c;
  Int rows, firstCol, firstShort, group;
};

Grid overRowsGrid(DictionaryAttr params, const CudaTarget &, int64_t) {
  int64_t i = intParam(params, "i"), j = intParam(params, "j"), shorter = std::min(i, j);
  return {ceilDiv(std::max(i, j), Strip), ceilDiv(shorter, shortColumns(shorter)), 1};
}

} // namespace

const Family lorac::cuda::matmulTnFamily = {"matmul_tn", "c[i, j] [+]= scale·Σm a[m, i]·b[m, j]",
                                            overRowsGrid, [](Kernel &kernel) {
                                              OverRows(kernel).build();
                                              return success();
                                            }};
