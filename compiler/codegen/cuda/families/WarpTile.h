#pragma once
// A block's tile of a product on tensor cores: sums[m, n] += a[m, :]·b[n, :] over tiles in shared
// memory, 64 deep.

#include "compiler/codegen/cuda/Families.h"

namespace lorac::cuda {

/// 16-bit numbers in shared memory in rows of `width` (a multiple of 64). Pieces of 16 bytes of row
/// r stand at piece ^ (r % 8), so that eight rows of one column of pieces lie in different banks.
/// Places are counted in bytes, so that an address is one sum.
class SwizzledTile {
public:
  SwizzledTile() = default;
  SwizzledTile(DeviceBuilder &d, llvm::StringRef name, int64_t elements, int64_t width,
               int64_t align = 128, int64_t blockRows = 0)
      : memory(d.shared(name, elements, d.compute(), align)),
        bytes(d.bytesOf((name + "_bytes").str(), memory)), width(width), blockRows(blockRows) {}

  mlir::Value memory; ///< 16-bit numbers
  mlir::Value bytes;  ///< the same place
  int64_t width = 0;
  /// Not 0: columns from `width` (64) on stand in blocks of their own, of so many rows each.
  int64_t blockRows = 0;
  int64_t blockBytes() const { return blockRows * width * 2; }

  /// The first byte of a piece, `from` bytes behind the memory's first.
  Int piece(Int from, Int row, Int piece) const {
    if (blockRows)
      return from + piece / 8 * blockBytes() + row * 128 + (piece % 8 ^ (row % 8)) * 16;
    return from + row * (width * 2) + (piece ^ (row % 8)) * 16;
  }
  /// An element's place in `memory`.
  Int element(Int row, Int col) const {
    if (blockRows)
      return col / 64 * (blockRows * 64) + row * 64 + (col / 8 % 8 ^ row % 8) * 8 + col % 8;
    return row * width + (col / 8 ^ row % 8) * 8 + col % 8;
  }
};

/// The byte of a lane's row of a fragment's first matrix (PTX ISA, "mma.m16n8k16"): of a, 16 rows
/// from `first` on; of b, 16 columns. `transposed`: the tile lies the other way round, [depth,
/// rows], and ldmatrix transposes.
Int fragmentPlace(DeviceBuilder &d, const SwizzledTile &tile, Int first, bool transposed, bool isA);
/// Two steps of eight along a tile's row: pieces are swizzled by exclusive or, and so is the way
/// from piece to piece.
inline Int along(Int place, Int steps) { return place ^ (steps * 32); }
/// The same of a tile that may be in blocks, from a place in its first.
inline Int along(Int place, const SwizzledTile &tile, Int steps) {
  return tile.blockRows ? along(place, steps % 4) + steps / 4 * tile.blockBytes()
                        : along(place, steps);
}
/// 16 rows down: the swizzle is the same there.
inline Int down(Int place, const SwizzledTile &tile, Int steps) {
  return place + steps * (32 * tile.width);
}

/// How a block's rows and columns are shared out to its warps.
struct TileShape {
  int64_t rows, cols, warpRows, warpCols; ///< of the block; of a warp (multiples of 16)
  bool warpgroups = false; ///< four warps share 4·warpRows rows: of each 64 a warp has 16
  int64_t warpsAcross() const { return cols / warpCols; }
  int64_t threads() const { return rows / warpRows * warpsAcross() * 32; }
  /// From 16 rows of a warp to its next.
  int64_t rowStep() const { return warpgroups ? 64 : 16; }
};

class WarpTile {
public:
  WarpTile(DeviceBuilder &d, const TileShape &shape);

  /// sums += a·bᵀ over `depth` (a multiple of 16, at most 64) columns of `a` [rows, 64] and `b`:
  /// [cols, 64], or [64, cols] where `transposed`; `a` is [64, rows] where `aTransposed`. `aFrom`,
  /// `bFrom`: bytes from their memories' begin to the tiles'.
  void multiply(const SwizzledTile &a, Int aFrom, const SwizzledTile &b, Int bFrom, bool transposed,
                int64_t depth, bool aTransposed = false);

  /// `steps` of 16 of the depth from step `first` on, after `prepare`.
  void multiplySteps(const SwizzledTile &a, Int aFrom, const SwizzledTile &b, Int bFrom,
                     bool transposed, Int first, int64_t steps, bool aTransposed = false);

  /// Before the loop that multiplies: what each lane adds to the tiles' begins.
  void prepare(const SwizzledTile &a, const SwizzledTile &b, bool transposed,
               bool aTransposed = false);

  /// Two neighbouring sums at a time: row and first column in the block's tile.
  void eachPair(llvm::function_ref<void(Int row, Int col, Num low, Num high)> body);

protected:
  DeviceBuilder &d;
  TileShape shape;
  mlir::Value sumsArray;

private:
  Int lane, warpRow, warpCol;
  std::optional<Int> aPlace, bPlace;
};

/// `rows` x `cols` of the memory's first tile, from a row and a column on, from a function of what
/// is counted from there. All threads.
void fillTile(DeviceBuilder &d, const SwizzledTile &tile, int64_t threads, int64_t rows,
              int64_t cols, std::pair<Int, Int> from,
              llvm::function_ref<Num(Int row, Int col)> value);

} // namespace lorac::cuda
