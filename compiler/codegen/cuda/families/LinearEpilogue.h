#pragma once
// What becomes of a product's sums before they are written: they are laid out by rows in shared
// memory, from where each thread takes eight columns: onto a residual or what the result holds,
// then rope over a head's halves, or a map with other operands.

#include "compiler/codegen/cuda/families/Pieces.h"
#include "compiler/codegen/cuda/families/WarpTile.h"

namespace lorac::cuda {

/// A block's sums, laid over what the product used of shared memory.
class SumsByRows {
public:
  static int64_t sharedBytes(const TileShape &tile);

  SumsByRows(DeviceBuilder &d, const TileShape &tile);

  /// `eachPair` hands out two neighbouring sums of this thread at a time (WarpTile::eachPair);
  /// `body` gets eight neighbouring columns of a row at a time, those within `rows` and `width`.
  /// All threads; no asynchronous copy is on its way.
  using Pair = llvm::function_ref<void(Int row, Int col, Num low, Num high)>;
  struct Place {
    Int tileRow, tileCol, row, col; ///< in the tile; in the result
  };
  void each(Int rows, Int width, Int firstRow, Int firstCol,
            llvm::function_ref<void(Pair)> eachPair, llvm::function_ref<void(Place)> body);

  /// Eight sums, in registers.
  mlir::Value load(llvm::StringRef name, Int tileRow, Int tileCol);

private:
  DeviceBuilder &d;
  TileShape tile;
  mlir::Value sums;
};

/// Of one product; its parameters and arguments are those of its part of the launch.
class LinearEpilogue {
public:
  /// Whether a tile's columns hold whole heads, where the epilogue is rope.
  static bool serves(mlir::DictionaryAttr params, const TileShape &tile);

  /// The kernel's arguments behind those of the product, `buffer` being the next's.
  static void addArguments(Kernel &kernel, mlir::DictionaryAttr params, bool backward,
                           unsigned &buffer, llvm::SmallVectorImpl<DeviceBuilder::Argument> &all);

  /// Takes these arguments. `width`: of the result.
  LinearEpilogue(DeviceBuilder &d, Kernel &kernel, mlir::DictionaryAttr params, bool backward,
                 int64_t width);

  void finish(SumsByRows &sums, SumsByRows::Place at);

private:
  void finishRope(SumsByRows &sums, SumsByRows::Place at, mlir::Value values);
  void finishMap(SumsByRows::Place at, mlir::Value values);

  DeviceBuilder &d;
  Kernel &kernel;
  mlir::DictionaryAttr params;
  Pieces pieces;
  llvm::StringRef kind; ///< "", "rope", "map"
  int64_t ldOut, ldRes;
  bool accumulate;
  mlir::Value residual, out, positions, table;
  llvm::SmallVector<mlir::Value> others, results;
};

} // namespace lorac::cuda
