// The small products of adapters: a long operand of activations by a factor of few columns. They
// cost the way of the long operand through memory, so nothing goes over shared memory but the last
// sum: each lane loads 16 bytes of the long operand where a fragment wants them. A sum over the
// depth may run in any order, and a tile's rows may stand for any columns, as long as both operands
// and the result agree; so fragments are dealt out such that a lane's pieces lie side by side.

#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/families/Pieces.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family matmulNtFamily, matmulNnFamily, matmulTnFamily;
}

namespace {

constexpr int64_t Warps = 8, Threads = Warps * 32;
constexpr int64_t MostColumns = 32; // of the factor that a block takes

// The factor's columns in equal parts of at most MostColumns, each a multiple of 8.
int64_t partColumns(int64_t columns) {
  return roundUp(ceilDiv(columns, ceilDiv(columns, MostColumns)), 8);
}

// What each warp has summed over its part of the depth, added over the warps in their order.
class BlockSum {
public:
  BlockSum(DeviceBuilder &d, int64_t rows, int64_t cols)
      : d(d), rows(rows), cols(cols),
        sums(d.shared("sums_of_warps", Warps * rows * cols, d.f32())) {}
  void put(Num value, Int row, Int col) {
    d.store(value, sums, {d.warp() * (rows * cols) + row * cols + col});
  }
  /// `byRows`: neighbouring threads get neighbouring columns, else neighbouring rows.
  void each(bool byRows, llvm::function_ref<void(Int row, Int col, Num sum)> body) {
    d.barrier();
    d.loop("e", d.thread(), d.constant(rows * cols), Threads, [&](Int e) {
      Int row = d.named("sum_row", byRows ? e / cols : e % rows),
          col = d.named("sum_col", byRows ? e % cols : e / rows);
      Num sum = d.loadNum(sums, {row * cols + col});
      for (int64_t warp = 1; warp < Warps; ++warp)
        sum = sum + d.loadNum(sums, {row * cols + col + warp * (rows * cols)});
      body(row, col, d.named("sum", sum));
    });
  }

private:
  DeviceBuilder &d;
  int64_t rows, cols;
  Value sums;
};

Value zeroSums(DeviceBuilder &d, int64_t across, int64_t down) {
  Value sums = d.local("sums", {across, down, 4}, d.f32());
  d.unrolled("i", across, [&](Int i) {
    d.unrolled("j", down, [&](Int j) {
      d.unrolled("e", 4, [&](Int e) { d.store(d.number(0), sums, {i, j, e}); });
    });
  });
  return sums;
}

// Offsets of parameters in floats, all multiples of 4: 16 bytes of a factor are one load.
bool paramsAligned(Kernel &kernel) {
  for (auto param : kernel.op->getParentOfType<ModuleOp>().getOps<lora::ParamOp>())
    if (auto offset = param->getAttrOfType<IntegerAttr>("offset");
        offset && offset.getInt() % 4 != 0)
      return false;
  return true;
}

//===--- rows of activations by a factor: nt, nn ---===//

// Tiles of 16 rows a block: two where that still fills the device, since each block reads the
// whole factor.
int64_t rowTiles(DictionaryAttr params, const CudaTarget &target) {
  return intParam(params, "rows") >= 32 * target.multiprocessors * 3 / 4 ? 2 : 1;
}

// A warp takes 32 of the depth (`pieces` times), of which each lane has 8 side by side: of rows
// lane / 4 and the eighth behind it, and of the factor's column lane / 4. As two products of 16
// deep: numbers 0, 1 | 2, 3 are a fragment's two halves, 4, 5 | 6, 7 the next one's.
class RowsByFactor {
public:
  RowsByFactor(Kernel &kernel, bool factorByRows)
      : kernel(kernel), factorByRows(factorByRows), depth(kernel.integer("k")),
        j(kernel.integer("j")), lda(kernel.integer("lda")), ldb(kernel.integer("ldb")),
        tiles(rowTiles(kernel.op.getParams(), kernel.target)), columns(partColumns(j)),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), Threads, kernel.compute(),
          {kernel.argument("a", 0), kernel.argument("b", 1), kernel.argument("c", 2, true)}),
        a(d.next()), b(d.next()), c(d.next()), rows(d.rows()), firstRow(rows), firstCol(rows) {}

  void build() {
    firstRow = d.named("first_row", d.blockY() * (tiles * 16));
    firstCol = d.named("first_col", d.blockX() * columns);
    d.returnIf(rows <= firstRow);
    BlockSum sum(d, tiles * 16, columns);
    Value sums = zeroSums(d, tiles, columns / 8);
    Int group = d.named("group", d.lane() / 4), four = d.named("four", d.lane() % 4);
    // Twice the loads on their way, where that many registers are left.
    int64_t pieces = depth % (Warps * 64) == 0 && columns <= 16 ? 2 : 1, step = Warps * 32 * pieces;
    d.comment("this warp's parts of the depth");
    d.loop("deep", d.warp() * (32 * pieces), d.constant(depth), step, [&](Int deep) {
      SmallVector<Value> as, bs;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        Int at = d.named("at", deep + four * 8 + piece * 32);
        as.push_back(loadRows(group, at));
        bs.push_back(loadFactor(group, at));
      }
      for (int64_t piece = 0; piece < pieces; ++piece)
        multiply(sums, as[piece], bs[piece]);
    });
    d.unrolled("i", tiles, [&](Int i) {
      d.unrolled("j", columns / 8, [&](Int j) {
        d.unrolled("e", 4, [&](Int e) {
          sum.put(d.loadNum(sums, {i, j, e}), i * 16 + group + e / 2 * 8, j * 8 + four * 2 + e % 2);
        });
      });
    });
    write(sum);
  }

private:
  // [tile][product][4]: rows lane / 4, the eighth behind it; then the same of the second half.
  Value loadRows(Int group, Int at) {
    Value fragments = d.local("a_words", {tiles, 2, 4}, d.word());
    d.unrolled("tile", tiles, [&](Int tile) {
      for (int64_t half = 0; half < 2; ++half) {
        // Rows behind the last are those of the last: their sums are not written.
        Int row = min(firstRow + tile * 16 + group + half * 8, rows - d.constant(1));
        Value words = loadEight("row_words", a, row * lda, at);
        for (int64_t word = 0; word < 4; ++word)
          d.store(d.loadWord(words, {d.constant(word)}), fragments,
                  {tile, d.constant(word / 2), d.constant(word % 2 * 2 + half)});
      }
    });
    return fragments;
  }

  // Eight of a row's depth as pairs; 0 behind the last.
  Value loadEight(StringRef name, Value from, Int row, Int at) {
    if (depth % 8 || depth % 32 == 0)
      return Pieces(d, depth).loadPairs(name, from, row, at);
    Value words = d.local(name, {4}, d.word());
    for (int64_t word = 0; word < 4; ++word)
      d.store(d.pack(d.number(0), d.number(0)), words, {d.constant(word)});
    d.where(at < depth, [&] { d.copy(from, {row + at}, words, {d.constant(0)}, 16); });
    return words;
  }

  // [column tile][4]: pairs of the depth.
  Value loadFactor(Int group, Int at) {
    Value fragments = d.local("b_words", {columns / 8, 4}, d.word());
    d.unrolled("tile", columns / 8, [&](Int tile) {
      Int col = d.named("factor_col", min(firstCol + tile * 8 + group, d.constant(j - 1)));
      Value numbers = d.local("numbers", {8}, d.f32());
      if (factorByRows && depth % 32 == 0 && ldb % 4 == 0 && paramsAligned(kernel)) {
        for (int64_t half = 0; half < 2; ++half)
          d.copy(b, {col * ldb + at + half * 4}, numbers, {d.constant(half * 4)}, 16);
      } else {
        d.unrolled("e", 8, [&](Int e) {
          Int deep = d.named("factor_deep", at + e);
          Bool there = depth % 32 ? deep < depth : d.truth(true);
          d.store(
              d.loadWhere("factor", there, b, {factorByRows ? col * ldb + deep : deep * ldb + col}),
              numbers, {e});
        });
      }
      d.unrolled("pair", 4, [&](Int pair) {
        Num low = d.loadNum(numbers, {pair * 2});
        d.store(d.pack(low, d.loadNum(numbers, {pair * 2 + 1})), fragments, {tile, pair});
      });
    });
    return fragments;
  }

  void multiply(Value sums, Value as, Value bs) {
    d.unrolled("tile", columns / 8, [&](Int tile) {
      d.unrolled("i", tiles, [&](Int i) {
        for (int64_t product = 0; product < 2; ++product)
          d.mma(sums, {i, tile}, as, {i, d.constant(product)},
                d.loadWord(bs, {tile, d.constant(2 * product)}),
                d.loadWord(bs, {tile, d.constant(2 * product + 1)}));
      });
    });
  }

  void write(BlockSum &sum) {
    int64_t ldc = kernel.integer("ldc");
    bool accumulate = kernel.flag("accumulate");
    sum.each(/*byRows=*/true, [&](Int tileRow, Int tileCol, Num value) {
      Int row = firstRow + tileRow, col = firstCol + tileCol;
      d.where(row < rows && col < j, [&] {
        Int place = d.named("place", row * ldc + col);
        Num scaled = value * kernel.number("scale");
        d.store(accumulate ? d.loadNum(c, {place}) + scaled : scaled, c, {place});
      });
    });
  }

  Kernel &kernel;
  bool factorByRows;
  int64_t depth, j, lda, ldb, tiles, columns;
  DeviceBuilder d;
  Value a, b, c;
  Int rows, firstRow, firstCol;
};

Grid rowsGrid(DictionaryAttr params, const CudaTarget &target, int64_t rows) {
  int64_t j = intParam(params, "j");
  return {ceilDiv(j, partColumns(j)), ceilDiv(rows, 16 * rowTiles(params, target)), 1};
}

//===--- over the rows: tn ---===//

constexpr int64_t Strip = 64; // of the long operand's columns

// A block takes a strip of the long operand's columns, a warp 16 rows (`pieces` times) of it. Lane
// l loads columns 8 (l / 4).. of four rows from 4 (l % 4) on. As a product of Strip / 16 tiles, 16
// rows deep: column 2t of the eight is row l / 4 of tile t, column 2t + 1 the eighth behind it; the
// four rows are the depth's two pairs.
class OverRows {
public:
  explicit OverRows(Kernel &kernel)
      : kernel(kernel), i(kernel.integer("i")), j(kernel.integer("j")), longIsA(i > j),
        longCols(longIsA ? i : j), shortCols(longIsA ? j : i), columns(partColumns(shortCols)),
        ldLong(kernel.integer(longIsA ? "lda" : "ldb")),
        ldShort(kernel.integer(longIsA ? "ldb" : "lda")),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), Threads, kernel.compute(),
          {kernel.argument("a", 0), kernel.argument("b", 1), kernel.argument("c", 2, true)}),
        rows(d.rows()), firstCol(rows), firstShort(rows) {
    Value a = d.next(), b = d.next();
    c = d.next();
    longer = longIsA ? a : b, shorter = longIsA ? b : a;
  }

  void build() {
    firstCol = d.named("first_col", d.blockX() * Strip);
    firstShort = d.named("first_short", d.blockY() * columns);
    BlockSum sum(d, Strip, columns);
    Value sums = zeroSums(d, Strip / 16, columns / 8);
    Int group = d.named("group", d.lane() / 4), four = d.named("four", d.lane() % 4);
    constexpr int64_t pieces = 2;
    d.comment("this warp's rows");
    d.loop("deep", d.warp() * (16 * pieces), rows, Warps * 16 * pieces, [&](Int deep) {
      SmallVector<Value> as, bs;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        Int row = d.named("row", deep + piece * 16 + four * 4);
        as.push_back(loadLong(group, row));
        bs.push_back(loadShort(group, row));
      }
      for (int64_t piece = 0; piece < pieces; ++piece)
        multiply(sums, as[piece], bs[piece]);
    });
    d.unrolled("i", Strip / 16, [&](Int i) {
      d.unrolled("j", columns / 8, [&](Int j) {
        d.unrolled("e", 4, [&](Int e) {
          sum.put(d.loadNum(sums, {i, j, e}), group * 8 + i * 2 + e / 2, j * 8 + four * 2 + e % 2);
        });
      });
    });
    write(sum);
  }

private:
  // [row][4]: pairs of columns.
  Value loadLong(Int group, Int row) {
    Value words = d.local("long_words", {4, 4}, d.word());
    d.unrolled("q", 4, [&](Int q) {
      // Rows behind the last are the last's: they meet zeros of the short operand.
      Int at = min(row + q, rows - d.constant(1));
      Int col = d.named("long_col", firstCol + group * 8);
      if (longCols % Strip &&
          longCols % 8 == 0) // sums of columns that are not there are not written
        col = min(col, d.constant(longCols - 8));
      Value eight = Pieces(d, longCols).loadPairs("eight", longer, at * ldLong, col);
      for (int64_t word = 0; word < 4; ++word)
        d.store(d.loadWord(eight, {d.constant(word)}), words, {q, d.constant(word)});
    });
    return words;
  }

  // [column tile][2]: pairs of rows.
  Value loadShort(Int group, Int row) {
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

  void multiply(Value sums, Value longWords, Value shortWords) {
    Value fragments = d.local("fragments", {Strip / 16, 4}, d.word());
    d.unrolled("i", Strip / 16, [&](Int i) {
      for (int64_t pair = 0; pair < 2; ++pair)
        for (int64_t high = 0; high < 2; ++high)
          d.store(d.zip(d.loadWord(longWords, {d.constant(2 * pair), i}),
                        d.loadWord(longWords, {d.constant(2 * pair + 1), i}), high),
                  fragments, {i, d.constant(2 * pair + high)});
      d.unrolled("tile", columns / 8, [&](Int tile) {
        d.mma(sums, {i, tile}, fragments, {i}, d.loadWord(shortWords, {tile, d.constant(0)}),
              d.loadWord(shortWords, {tile, d.constant(1)}));
      });
    });
  }

  void write(BlockSum &sum) {
    int64_t ldc = kernel.integer("ldc");
    bool accumulate = kernel.flag("accumulate");
    sum.each(/*byRows=*/longIsA, [&](Int inLong, Int inShort, Num value) {
      Int longAt = firstCol + inLong, shortAt = firstShort + inShort;
      d.where(longAt < longCols && shortAt < shortCols, [&] {
        Int place = d.named("place", longIsA ? longAt * ldc + shortAt : shortAt * ldc + longAt);
        Num scaled = value * kernel.number("scale");
        d.store(accumulate ? d.loadNum(c, {place}) + scaled : scaled, c, {place});
      });
    });
  }

  Kernel &kernel;
  int64_t i, j;
  bool longIsA;
  int64_t longCols, shortCols, columns, ldLong, ldShort;
  DeviceBuilder d;
  Value longer, shorter, c;
  Int rows, firstCol, firstShort;
};

Grid overRowsGrid(DictionaryAttr params, const CudaTarget &, int64_t) {
  int64_t i = intParam(params, "i"), j = intParam(params, "j"), shorter = std::min(i, j);
  return {ceilDiv(std::max(i, j), Strip), ceilDiv(shorter, partColumns(shorter)), 1};
}

} // namespace

const Family lorac::cuda::matmulNtFamily = {"matmul_nt", "c[m, j] [+]= scale·Σk a[m, k]·b[j, k]",
                                            rowsGrid, [](Kernel &kernel) {
                                              RowsByFactor(kernel, true).build();
                                              return success();
                                            }};
const Family lorac::cuda::matmulNnFamily = {"matmul_nn", "c[m, j] [+]= scale·Σk a[m, k]·b[k, j]",
                                            rowsGrid, [](Kernel &kernel) {
                                              RowsByFactor(kernel, false).build();
                                              return success();
                                            }};
const Family lorac::cuda::matmulTnFamily = {"matmul_tn", "c[i, j] [+]= scale·Σm a[m, i]·b[m, j]",
                                            overRowsGrid, [](Kernel &kernel) {
                                              OverRows(kernel).build();
                                              return success();
                                            }};
