#pragma once
// What the kernels of attention share: tiles of one head's rows, products of a warp's 16 rows with
// them, the mask.

#include "compiler/codegen/cuda/families/WarpTile.h"

#include <optional>

namespace lorac::cuda {

constexpr int64_t attentionRows = 64, attentionThreads = 128; ///< a warp takes 16 rows of a block

struct AttentionShape {
  int64_t heads, kvHeads, headDim, ldq, ldk, ldv, ldo, ldl;
  double scale;
  int64_t window; ///< rows that a query sees, its own among them; 0: all before
  double softcap; ///< 0: none

  explicit AttentionShape(Kernel &kernel);
  int64_t group() const { return heads / kvHeads; }
  int64_t steps() const { return ceilDiv(headDim, 16); } ///< of a product over the head's dimension
  int64_t width() const { return headDim <= 64 ? 64 : headDim <= 128 ? 128 : 256; }
  /// Rows of the tiles that a block walks over: half where the sums would not fit the registers.
  int64_t walked() const { return headDim <= 64 ? 64 : 32; }
  double scaleLog2() const { return scale * 1.4426950408889634; }
};

/// A score as a power of two's exponent; with a cap its derivative by the score, else null.
struct Score {
  Num log2;
  std::optional<Num> slope;
};
Score scoreOf(DeviceBuilder &d, const AttentionShape &shape, Num product);

/// The first row that a query sees: of its sample, and in its window.
inline Int firstSeen(const AttentionShape &shape, Int row, Int position) {
  Int start = row - position;
  return shape.window ? max(start, row - (shape.window - 1)) : start;
}

/// The first row of this block, of those that grid y counts: the last rows come first, whose way
/// back over the keys is the longest.
inline Int firstOfBlock(DeviceBuilder &d, Int rows) {
  Int last = (rows - d.constant(1)) / attentionRows;
  return d.named("first_query", (last - d.blockY()) * attentionRows);
}

/// Rows of one head in shared memory; rows from `rows` on and columns behind the head are zero.
class HeadTile {
public:
  HeadTile(DeviceBuilder &d, llvm::StringRef name, const AttentionShape &shape, int64_t rowsOfTile,
           int64_t buffers = 1);

  /// Starts the copies of rows `first`.. into a buffer.
  void load(mlir::Value from, int64_t ld, Int head, Int first, Int rows, Int buffer);
  void load(mlir::Value from, int64_t ld, Int head, Int first, Int rows) {
    load(from, ld, head, first, rows, d.constant(0));
  }
  /// The first byte of a buffer.
  Int begin(Int buffer) { return buffer * (tileRows * shape.width() * 2); }
  const SwizzledTile &tile() const { return swizzled; }

private:
  DeviceBuilder &d;
  AttentionShape shape;
  int64_t tileRows;
  SwizzledTile swizzled;
};

/// Walks over tiles of `step` rows from `first` (a multiple of it) to `last`, one loaded ahead:
/// `load` starts a tile's copies into a buffer, `body` has it whole. What was copied before is
/// there, too.
void walkTiles(DeviceBuilder &d, llvm::StringRef name, Int first, Int last, int64_t step,
               llvm::function_ref<void(Int row, Int buffer)> load,
               llvm::function_ref<void(Int row, Int buffer)> body);

/// Sums of a warp: 16 rows, `cols` columns.
mlir::Value warpSums(DeviceBuilder &d, llvm::StringRef name, int64_t cols);
void clearSums(DeviceBuilder &d, mlir::Value sums, int64_t cols);

/// sums [16, cols] += a·bᵀ over the head's dimension: a's fragments at `aPlace`, b [cols, dim] at
/// `bPlace`.
void multiplyRows(DeviceBuilder &d, mlir::Value sums, int64_t cols, const SwizzledTile &a,
                  Int aPlace, const SwizzledTile &b, Int bPlace, int64_t steps);
/// sums [16, dim] += p·b, where p [16, depth] lies in `weights` as sums do and b is [depth, dim].
void multiplyWeights(DeviceBuilder &d, mlir::Value sums, int64_t dim, mlir::Value weights,
                     int64_t depth, const SwizzledTile &b, Int bPlace);

/// The four sums of a lane in a tile of eight columns: element e lies in row lane/4 + 8·(e/2),
/// column 2·(lane%4) + e%2.
void eachSum(DeviceBuilder &d, int64_t cols, llvm::function_ref<void(Int tile, int64_t e)> body);

/// Stores a warp's [16, dim] sums, times `factor` of row half 0 and 1, as a head's columns; rows
/// from `rows` on are left.
void storeHead(DeviceBuilder &d, mlir::Value sums, const AttentionShape &shape, mlir::Value to,
               int64_t ld, Int head, Int firstRow, Int rows, llvm::ArrayRef<Num> factors);

} // namespace lorac::cuda
