#pragma once
// What becomes of a product's sums before they are written: they are laid out by rows in shared
// memory, from where each thread takes eight columns: onto a residual or what the result holds,
// then rope over a head's halves, or a map with other operands.

#include "compiler/codegen/cuda/families/Pieces.h"
#include "compiler/codegen/cuda/families/WarpTile.h"

namespace lorac::cuda {

class LinearEpilogue {
public:
  struct Shape {
    int64_t width, ldOut, ldRes; ///< of the result and its leading dimension; of the residual's
    bool residual, accumulate;
    TileShape tile;
  };

  /// Bytes of shared memory that `write` lays over what the product used.
  static int64_t sharedBytes(const TileShape &tile);
  /// Whether a tile's columns hold whole heads, where the epilogue is rope.
  static bool serves(mlir::DictionaryAttr params, const TileShape &tile);

  /// The kernel's arguments behind those of the product, `buffer` being the first's.
  static void addArguments(Kernel &kernel, unsigned buffer,
                           llvm::SmallVectorImpl<DeviceBuilder::Argument> &all);

  /// Takes these arguments.
  LinearEpilogue(DeviceBuilder &d, Kernel &kernel, const Shape &shape);

  /// `eachPair` hands out two neighbouring sums of this thread at a time (WarpTile::eachPair). All
  /// threads; no asynchronous copy is on its way.
  using Pair = llvm::function_ref<void(Int row, Int col, Num low, Num high)>;
  void write(Int rows, Int firstRow, Int firstCol, llvm::function_ref<void(Pair)> eachPair);

private:
  void finish(mlir::Value values, Int tileRow, Int tileCol, Int row, Int col);
  void finishRope(mlir::Value values, Int tileRow, Int tileCol, Int row, Int col);
  void finishMap(mlir::Value values, Int row, Int col);
  mlir::Value staged(llvm::StringRef name, Int tileRow, Int tileCol);

  DeviceBuilder &d;
  Kernel &kernel;
  Shape shape;
  Pieces pieces;
  llvm::StringRef kind; ///< "", "rope", "map"
  mlir::Value residual, out, positions, table, sums;
  llvm::SmallVector<mlir::Value> others, results;
};

} // namespace lorac::cuda
