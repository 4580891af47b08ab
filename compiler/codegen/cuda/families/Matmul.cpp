// Rows of activations by a factor of an adapter: x·Aᵀ, dy·B.

#include "compiler/codegen/cuda/families/Pieces.h"
#include "compiler/codegen/cuda/families/SmallProduct.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family matmulNtFamily, matmulNnFamily;
}

namespace {

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
        spread(factorByRows && depth % 32 == 0 && ldb % 4 == 0 && paramsAligned(kernel) &&
               !kernel.element(0).isF32()),
        paired(!factorByRows && columns % 16 == 0 && j % columns == 0 && ldb % 2 == 0 &&
               paramsAligned(kernel)),
        d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), productThreads,
          kernel.compute(),
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
    int64_t pieces = depth % (productWarps * 64) == 0 && columns <= 16 ? 2 : 1;
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
          assert(kernel.element(1).isF32() && "a factor keeps 32 bits");
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
    assert(kernel.element(1).isF32() && "a factor keeps 32 bits");
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
    Pieces pieces(d, depth, rowsAligned(kernel, 0));
    if (!spread && (depth % 8 || depth % 32 == 0))
      return pieces.loadPairs(name, from, row, at);
    Value words = d.local(name, {4}, d.word());
    if (spread) {
      for (int64_t half = 0; half < 2; ++half)
        d.copy(from, {row + at + half * 16}, words, {d.constant(half * 2)}, 8);
      return words;
    }
    for (int64_t word = 0; word < 4; ++word)
      d.store(d.pack(d.number(0), d.number(0)), words, {d.constant(word)});
    d.where(at < depth, [&] {
      Value there = pieces.loadPairs("there", from, row, at);
      for (int64_t word = 0; word < 4; ++word)
        d.store(d.loadWord(there, {d.constant(word)}), words, {d.constant(word)});
    });
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
