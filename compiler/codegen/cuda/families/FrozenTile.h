#pragma once
// Tiles of a frozen weight on their way into a product: copied as they are stored, decoded in
// shared memory. Forward reads 64 columns of `cols` rows of W, dX reads `cols` columns of 64 rows,
// both from the one copy by rows (docs/cuda.md).

#include "compiler/codegen/cuda/families/Parts.h"
#include "compiler/codegen/cuda/families/WarpTile.h"
#include "runtime/formats/RowLayout.h"

namespace lorac::cuda {

class FrozenTile {
public:
  struct Shape {
    llvm::SmallVector<int64_t> n; ///< rows of W, of each part of the launch
    int64_t k;                    ///< columns
    bool backward;                ///< dX: rows of W are the depth
    int64_t cols;                 ///< of the block's tile: rows of W forward, columns of W backward
    int64_t threads, stages;
    int64_t buffers = 2;     ///< of decoded tiles
    bool warpgroups = false; ///< the tile as wgmma reads it: rows of 128 bytes
    /// Scales applied in float32; otherwise as 16-bit numbers, two at a time.
    bool exactScales = true;
  };

  static int64_t sharedBytes(const formats::WeightFormat &format, const Shape &shape);

  /// What Kernel::weightArguments lists; those that the format lacks are null.
  struct Arguments {
    mlir::Value codes, scales, minima, nested;
  };
  static Arguments takeArguments(DeviceBuilder &d, const formats::WeightFormat &format);

  /// Takes its places in shared memory. `weights`: of each part.
  FrozenTile(DeviceBuilder &d, const formats::WeightFormat &format, const Shape &shape,
             llvm::ArrayRef<Arguments> weights);
  /// Before the first panel of a part, with all threads.
  void prepare(const Parts &parts, Int firstCol);

  bool decodes() const { return format.block != 0; }
  /// Starts the copies of the panel `step` (64 of the depth) into a stage.
  void load(Int step, Int stage);
  /// Rounds in which the block decodes a panel; where `decodes()`.
  int64_t decodeRounds() const;
  /// stage -> decoded tile `buffer`: `rounds` rounds from `first` on.
  void decode(Int step, Int stage, Int buffer, int64_t first, int64_t rounds);

  /// What WarpTile::multiply reads: [cols, 64], transposed [64, cols] backward.
  SwizzledTile tile() const { return decoded; }
  /// The first byte of the tile of a stage (of a buffer, where `decodes()`).
  Int begin(Int which) { return which * (128 * shape.cols); }

private:
  int64_t scalesPerTile() const;
  bool straddles() const;
  int64_t scaleRows() const;  ///< (tile of 64 columns, scale) pairs of a panel
  int64_t scaleCount() const; ///< entries a pair
  int64_t codeBytes() const { return format.bits * 8 * shape.cols; }
  int64_t rowsARound() const;
  int64_t codeBits() const;
  int64_t rowElements() const;
  int64_t pieceElements() const;
  int64_t pieces() const;
  void placeDecoding();
  void prepareDecoding();
  void loadCodes(Int step, Int stage);
  void loadScales(mlir::Value from, mlir::Value to, Int step, Int stage);
  llvm::SmallVector<Num> scalesOf(mlir::Value part, Int step, Int stage, Int row, Int tile,
                                  Int group);
  Num scaleAt(llvm::ArrayRef<Num> scales, Int offset, Int col);

  DeviceBuilder &d;
  formats::WeightFormat format;
  Shape shape;
  llvm::SmallVector<Arguments> weights;
  int64_t kp;
  Int np, lastBlock;                                              // of the part
  mlir::Value codes, scales, minima, nested;                      // of the part
  mlir::Value codeStages, scaleStages, minimumStages, map, table; // shared memory, registers
  SwizzledTile decoded;
  mlir::Value codesFrom; // this thread's pieces
  Int firstCol, codesTo, decodeRow, decodeGroup, decodeFrom, decodeTo[2];
  Num offset;
};

} // namespace lorac::cuda
