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

// The shorter operand's columns in equal parts of at most `most`, each a multiple of `unit`.
int64_t partColumns(int64_t columns, int64_t most, int64_t unit) {
  return roundUp(ceilDiv(columns, ceilDiv(columns, most)), unit);
}

// Column of an operand whose columns 2n and 2n + 1 of sixteen, loaded as one, are numbers n and
// n + 8 of a fragment's sixteen.
Int pairedColumn(Int number) { return number / 16 * 16 + number % 8 * 2 + number / 8 % 2; }

// What each warp has summed over its part of the depth, added over the warps in their order. Rows
// and columns are those of the fragments. Four rows of eight columns lie side by side, as half a
// warp stores them, and so far from the next ones that those who read them find different banks.
class BlockSum {
public:
  BlockSum(DeviceBuilder &d, int64_t rows, int64_t cols)
      : d(d), rows(rows), cols(cols), across(rows / 4 * down + (cols == 16 ? 16 : 24)),
        ofWarp(cols / 8 * across), sums(d.shared("sums_of_warps", Warps * ofWarp, d.f32())) {}
  /// Of this warp: [row / 16][column / 8][4] in registers.
  void put(Value fragments) {
    Int mine =
        d.named("sums_of_lane", d.warp() * ofWarp + d.lane() * 2 + d.lane() / 16 * (down - 4 * 8));
    d.unrolled("i", rows / 16, [&](Int i) {
      d.unrolled("j", cols / 8, [&](Int j) {
        for (int64_t half = 0; half < 2; ++half)
          d.copy(fragments, {i, j, d.constant(half * 2)}, sums,
                 {mine + j * across + (i * 4 + half * 2) * down}, 8);
      });
    });
  }
  /// Each element's number, shared out to the threads.
  void each(llvm::function_ref<void(Int)> body) {
    d.barrier();
    d.loop("e", d.thread(), d.constant(rows * cols), Threads, body);
  }
  Num at(Int row, Int col) {
    Int first = d.named("sum_place", place(row, col));
    Num sum = d.loadNum(sums, {first});
    for (int64_t warp = 1; warp < Warps; ++warp)
      sum = sum + d.loadNum(sums, {first + warp * ofWarp});
    return d.named("sum", sum);
  }

private:
  Int place(Int row, Int col) { return col / 8 * across + row / 4 * down + row % 4 * 8 + col % 8; }

  static constexpr int64_t down = 4 * 8 + 2;
  DeviceBuilder &d;
  int64_t rows, cols, across, ofWarp;
  Value sums;
};

// c[place] [+]= scale·sum.
void storeSum(Kernel &kernel, DeviceBuilder &d, Value c, Int place, Num sum) {
  Num scaled = sum * kernel.number("scale");
  d.store(kernel.flag("accumulate") ? d.loadNum(c, {place}) + scaled : scaled, c, {place});
}

Value zeroSums(DeviceBuilder &d, int64_t across, int64_t down) {
  Value sums = d.local("sums", {across, down, 4}, d.f32());
  d.unrolled("i", across, [&](Int i) {
    d.unrolled("j", down, [&](Int j) {
      d.unrolled("e", 4, [&](Int e) { d.store(d.number(0), sums, {i, j, e}); });
    });
  });
  return sums;
}

// A product's operands in registers.
struct Operands {
  Value left, right;
};

// This warp's parts of the depth: `pieces` times `size` of it are on their way at once.
void walkDepth(DeviceBuilder &d, Int depth, int64_t size, int64_t pieces,
               llvm::function_ref<Operands(Int deep)> load,
               llvm::function_ref<void(Operands)> multiply) {
  d.comment("this warp's parts of the depth");
  d.loop("deep", d.warp() * (size * pieces), depth, Warps * size * pieces, [&](Int deep) {
    SmallVector<Operands> loaded;
    for (int64_t piece = 0; piece < pieces; ++piece)
      loaded.push_back(load(deep + piece * size));
    for (Operands operands : loaded)
      multiply(operands);
  });
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

// Blocks of 16 rows: of 32 where those still fill the device, since each block reads the whole
// factor.
int64_t blockRows(DictionaryAttr params, const CudaTarget &target) {
  return intParam(params, "rows") >= 32 * target.multiprocessors * 3 / 4 ? 32 : 16;
}
int64_t factorColumns(int64_t j) { return partColumns(j, 48, 8); }

// The factor is the product's left operand, 16 of its columns at a time, the rows are the right
// one, eight at a time: the factor's numbers are rounded on their way and land in any register, the
// rows' words stay where they were loaded. A warp takes 32 of the depth, of which a lane has two
// times four: numbers 0, 1 | 2, 3 are the halves of a product 16 deep, 4, 5 | 6, 7 of the next. The
// two fours lie side by side, or, where the factor's rows are loaded by 16 bytes, 16 apart
// (`spread`): then four lanes' loads lie side by side.
class RowsByFactor {
public:
  RowsByFactor(Kernel &kernel, bool factorByRows)
      : kernel(kernel), factorByRows(factorByRows), depth(kernel.integer("k")),
        j(kernel.integer("j")), lda(kernel.integer("lda")), ldb(kernel.integer("ldb")),
        rowsOfBlock(blockRows(kernel.op.getParams(), kernel.target)), columns(factorColumns(j)),
        spread(factorByRows && depth % 32 == 0 && ldb % 4 == 0 && paramsAligned(kernel)),
        paired(!factorByRows && columns % 16 == 0 && j % columns == 0 && ldb % 2 == 0 &&
               paramsAligned(kernel)),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), Threads, kernel.compute(),
          {kernel.argument("a", 0), kernel.argument("b", 1), kernel.argument("c", 2, true)}),
        a(d.next()), b(d.next()), c(d.next()), rows(d.rows()), firstRow(rows), firstCol(rows),
        group(d.named("group", d.lane() / 4)) {}

  void build() {
    firstRow = d.named("first_row", d.blockY() * rowsOfBlock);
    firstCol = d.named("first_col", d.blockX() * columns);
    d.returnIf(rows <= firstRow);
    d.fewBlocks();
    BlockSum sum(d, tiles() * 16, rowsOfBlock);
    Value sums = zeroSums(d, tiles(), rowsOfBlock / 8);
    Int four = d.named("four", d.lane() % 4);
    // Twice the loads on their way, where that many registers are left.
    int64_t pieces = depth % (Warps * 64) == 0 && columns <= 16 ? 2 : 1;
    walkDepth(
        d, d.constant(depth), 32, pieces,
        [&](Int deep) {
          Int at = d.named("at", deep + four * (spread ? 4 : 8));
          Value left = loadFactor(at);
          return Operands{left, loadRows(at)};
        },
        [&](Operands operands) { multiply(sums, operands); });
    sum.put(sums);
    sum.each([&](Int e) { // a row's columns side by side
      Int inRow = e % 16, inCol = e / 16;
      if (tiles() > 1)
        inRow = inRow + inCol / rowsOfBlock * 16, inCol = inCol % rowsOfBlock;
      Int row = d.named("row", firstRow + inCol),
          inPart = d.named("part_col", paired ? pairedColumn(inRow) : inRow),
          col = d.named("col", firstCol + inPart);
      Bool there = row < rows;
      if (columns % 16)
        there = there && inPart < columns;
      if (j % columns)
        there = there && col < j;
      d.where(there, [&] {
        Int place = d.named("place", row * kernel.integer("ldc") + col);
        storeSum(kernel, d, c, place, sum.at(inRow, inCol));
      });
    });
  }

private:
  int64_t tiles() const { return ceilDiv(columns, 16); }

  // [tile][product][4]: column lane / 4, the eighth behind it; then the same of the second half.
  Value loadFactor(Int at) {
    Value words = d.local("factor_words", {tiles(), 2, 4}, d.word());
    d.unrolled("tile", tiles(), [&](Int tile) {
      Value numbers = paired ? loadPaired(tile, at) : loadColumns(tile, at);
      for (int64_t half = 0; half < 2; ++half)
        for (int64_t pair = 0; pair < 4; ++pair) {
          Num low = d.loadNum(numbers, {d.constant(half), d.constant(pair * 2)}),
              high = d.loadNum(numbers, {d.constant(half), d.constant(pair * 2 + 1)});
          d.store(d.pack(low, high), words,
                  {tile, d.constant(pair / 2), d.constant(pair % 2 * 2 + half)});
        }
    });
    return words;
  }

  // [half][number of the depth].
  Value loadColumns(Int tile, Int at) {
    Value numbers = d.local("numbers", {2, 8}, d.f32());
    for (int64_t half = 0; half < 2; ++half) {
      auto load = [&] {
        Int col =
            d.named("factor_col", min(firstCol + tile * 16 + half * 8 + group, d.constant(j - 1)));
        if (spread) {
          for (int64_t four = 0; four < 2; ++four)
            d.copy(b, {col * ldb + at + four * 16}, numbers,
                   {d.constant(half), d.constant(four * 4)}, 16);
          return;
        }
        d.unrolled("e", 8, [&](Int e) {
          Int deep = d.named("factor_deep", at + e);
          Bool there = depth % 32 ? deep < depth : d.truth(true);
          d.store(
              d.loadWhere("factor", there, b, {factorByRows ? col * ldb + deep : deep * ldb + col}),
              numbers, {d.constant(half), e});
        });
      };
      if (half == 0 || columns % 16 == 0) {
        load();
        continue;
      }
      d.unrolled("e", 8, [&](Int e) { d.store(d.number(0), numbers, {d.constant(half), e}); });
      if (columns > 16) // the last tile has eight columns
        d.where(tile < columns / 16, load);
    }
    return numbers;
  }

  // The same of two columns at a time.
  Value loadPaired(Int tile, Int at) {
    Value numbers = d.local("numbers", {2, 8}, d.f32());
    Int col = d.named("factor_col", firstCol + tile * 16 + group * 2);
    d.unrolled("e", 8, [&](Int e) {
      Int deep = d.named("factor_deep", at + e);
      Value both = d.local("both", {2}, d.f32());
      auto load = [&] { d.copy(b, {deep * ldb + col}, both, {d.constant(0)}, 8); };
      if (depth % 32) {
        for (int64_t half = 0; half < 2; ++half)
          d.store(d.number(0), both, {d.constant(half)});
        d.where(deep < depth, load);
      } else {
        load();
      }
      for (int64_t half = 0; half < 2; ++half)
        d.store(d.loadNum(both, {d.constant(half)}), numbers, {d.constant(half), e});
    });
    return numbers;
  }

  // [eight rows][4]: pairs of the depth.
  Value loadRows(Int at) {
    Value words = d.local("row_words", {rowsOfBlock / 8, 4}, d.word());
    d.unrolled("eight", rowsOfBlock / 8, [&](Int eight) {
      // Rows behind the last are those of the last: their sums are not written.
      Int row = min(firstRow + eight * 8 + group, rows - d.constant(1));
      Value pairs = loadEight("pairs", a, row * lda, at);
      for (int64_t word = 0; word < 4; ++word)
        d.store(d.loadWord(pairs, {d.constant(word)}), words, {eight, d.constant(word)});
    });
    return words;
  }

  // A lane's eight of a row's depth as pairs; 0 behind the last.
  Value loadEight(StringRef name, Value from, Int row, Int at) {
    if (!spread && (depth % 8 || depth % 32 == 0))
      return Pieces(d, depth).loadPairs(name, from, row, at);
    Value words = d.local(name, {4}, d.word());
    if (spread) {
      for (int64_t half = 0; half < 2; ++half)
        d.copy(from, {row + at + half * 16}, words, {d.constant(half * 2)}, 8);
      return words;
    }
    for (int64_t word = 0; word < 4; ++word)
      d.store(d.pack(d.number(0), d.number(0)), words, {d.constant(word)});
    d.where(at < depth, [&] { d.copy(from, {row + at}, words, {d.constant(0)}, 16); });
    return words;
  }

  void multiply(Value sums, Operands operands) {
    d.unrolled("tile", tiles(), [&](Int tile) {
      d.unrolled("eight", rowsOfBlock / 8, [&](Int eight) {
        for (int64_t product = 0; product < 2; ++product)
          d.mma(sums, {tile, eight}, operands.left, {tile, d.constant(product)},
                d.loadWord(operands.right, {eight, d.constant(2 * product)}),
                d.loadWord(operands.right, {eight, d.constant(2 * product + 1)}));
      });
    });
  }

  Kernel &kernel;
  bool factorByRows;
  int64_t depth, j, lda, ldb, rowsOfBlock, columns;
  bool spread, paired;
  DeviceBuilder d;
  Value a, b, c;
  Int rows, firstRow, firstCol, group;
};

Grid rowsGrid(DictionaryAttr params, const CudaTarget &target, int64_t rows) {
  int64_t j = intParam(params, "j");
  return {ceilDiv(j, factorColumns(j)), ceilDiv(rows, blockRows(params, target)), 1};
}

//===--- over the rows: tn ---===//

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
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), Threads, kernel.compute(),
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
      Value eight = Pieces(d, longCols).loadPairs("eight", longer, at * ldLong, col);
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
