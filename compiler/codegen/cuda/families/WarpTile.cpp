#include "compiler/codegen/cuda/families/WarpTile.h"

using namespace mlir;
using namespace lorac::cuda;

WarpTile::WarpTile(DeviceBuilder &d, const TileShape &shape)
    : d(d), shape(shape), lane(d.lane()), warpRow(lane), warpCol(lane) {
  Int warp = d.warp();
  warpRow = d.named("warp_row", shape.warpgroups ? warp / 4 * (4 * shape.warpRows) + warp % 4 * 16
                                                 : warp / shape.warpsAcross() * shape.warpRows);
  warpCol = d.named("warp_col", warp % shape.warpsAcross() * shape.warpCols);
  sumsArray = d.local("sums", {shape.warpRows / 16, shape.warpCols / 8, 4}, d.f32());
  d.unrolled("i", shape.warpRows / 16, [&](Int i) {
    d.unrolled("j", shape.warpCols / 8, [&](Int j) {
      d.unrolled("e", 4, [&](Int e) { d.store(d.number(0), sumsArray, {i, j, e}); });
    });
  });
}

// Lanes 0-7, 8-15, 16-23 and 24-31 address the rows of the fragment's four matrices. Of a these are
// rows 0-7 and 8-15, then the same of the next eight of the depth; of b the two halves of the depth
// of eight columns, then those of the next eight.
Int lorac::cuda::fragmentPlace(DeviceBuilder &d, const SwizzledTile &tile, Int first,
                               bool transposed, bool isA) {
  Int lane = d.lane(), inEight = lane % 8, second = lane / 8 % 2, fourth = lane / 16,
      zero = d.constant(0);
  if (isA)
    return transposed ? tile.piece(zero, inEight + fourth * 8, first / 8 + second)
                      : tile.piece(zero, first + inEight + second * 8, fourth);
  return transposed ? tile.piece(zero, inEight + second * 8, first / 8 + fourth)
                    : tile.piece(zero, first + inEight + fourth * 8, second);
}

void WarpTile::multiply(const SwizzledTile &a, Int aFrom, const SwizzledTile &b, Int bFrom,
                        bool transposed, int64_t depth, bool aTransposed) {
  if (!aPlace)
    prepare(a, b, transposed, aTransposed);
  multiplySteps(a, aFrom, b, bFrom, transposed, d.constant(0), depth / 16, aTransposed);
}

void WarpTile::multiplySteps(const SwizzledTile &a, Int aFrom, const SwizzledTile &b, Int bFrom,
                             bool transposed, Int first, int64_t steps, bool aTransposed) {
  int64_t across = shape.warpRows / 16;
  Int aAt = d.named("a_at", aFrom + *aPlace), bAt = d.named("b_at", bFrom + *bPlace);
  d.unrolled("k", steps, [&](Int step) {
    Int k = step + first;
    Value aWords = d.local("a", {across, 4}, d.word());
    d.unrolled("i", across, [&](Int i) {
      d.ldmatrix(a.bytes,
                 aTransposed ? along(down(aAt, a, k), i)
                             : down(along(aAt, k), a, i * (shape.rowStep() / 16)),
                 aTransposed, aWords, {i});
    });
    d.unrolled("j", shape.warpCols / 16, [&](Int j) {
      Value bWords = d.local("b", {4}, d.word());
      d.ldmatrix(b.bytes, transposed ? along(down(bAt, b, k), b, j) : down(along(bAt, k), b, j),
                 transposed, bWords, {});
      d.unrolled("i", across, [&](Int i) {
        for (int64_t half = 0; half < 2; ++half)
          d.mma(sumsArray, {i, j * 2 + half}, aWords, {i},
                d.loadWord(bWords, {d.constant(2 * half)}),
                d.loadWord(bWords, {d.constant(2 * half + 1)}));
      });
    });
  });
}

void WarpTile::prepare(const SwizzledTile &a, const SwizzledTile &b, bool transposed,
                       bool aTransposed) {
  aPlace = d.keep("a_place", fragmentPlace(d, a, warpRow, aTransposed, true));
  bPlace = d.keep("b_place", fragmentPlace(d, b, warpCol, transposed, false));
}

void WarpTile::eachPair(llvm::function_ref<void(Int, Int, Num, Num)> body) {
  d.unrolled("i", shape.warpRows / 16, [&](Int i) {
    d.unrolled("j", shape.warpCols / 8, [&](Int j) {
      d.unrolled("half", 2, [&](Int half) {
        Int row = d.named("row", warpRow + i * shape.rowStep() + lane / 4 + half * 8),
            col = d.named("col", warpCol + j * 8 + lane % 4 * 2);
        body(row, col, d.loadNum(sumsArray, {i, j, half * 2}),
             d.loadNum(sumsArray, {i, j, half * 2 + 1}));
      });
    });
  });
}

void lorac::cuda::fillTile(DeviceBuilder &d, const SwizzledTile &tile, int64_t threads,
                           int64_t rows, int64_t cols, std::pair<Int, Int> from,
                           llvm::function_ref<Num(Int, Int)> value) {
  auto fill = [&](Int e) {
    Int row = d.named("tile_row", e / cols), col = d.named("tile_col", e % cols);
    d.store(value(row, col), tile.memory, {tile.element(from.first + row, from.second + col)});
  };
  int64_t each = rows * cols / threads;
  if (rows * cols % threads == 0 &&
      each <= 16) // all loads on their way before the first is waited for
    d.unrolled("part", each, [&](Int part) { fill(part * threads + d.thread()); });
  else
    d.loop("e", d.thread(), d.constant(rows * cols), threads, fill);
}
