#pragma once
// What a launch of a linear family computes, read from the kernel's parameters. Several products
// that read one x, or add to one dx, are parts of one launch (docs/cuda.md).

#include "compiler/codegen/cuda/families/FrozenTile.h"

namespace lorac::cuda {

struct LinearPart {
  mlir::DictionaryAttr params;
  int64_t n, k; ///< of W
  int64_t ldIn; ///< of x forward, of dy backward
  bool lowRank; ///< its rank and t's leading dimension come with the launch
  double scale;
};

struct LinearShape {
  bool backward;
  /// A block goes over its rows and columns for one part after the other; otherwise each column of
  /// blocks is a part's.
  bool inTurn;
  llvm::SmallVector<LinearPart> parts;
  formats::WeightFormat format;
  TileShape tile; ///< the one that should be done first on the target

  int64_t depth(const LinearPart &part) const { return backward ? part.n : part.k; }
  int64_t width(const LinearPart &part) const { return backward ? part.k : part.n; }
  int64_t stages() const { return stagesOf(tile); }
  /// Columns of blocks of a part.
  int64_t across(const LinearPart &part) const;
  FrozenTile::Shape frozen() const { return frozenOf(tile); }

  static constexpr int64_t panel = 64; ///< of the depth

  static LinearShape read(mlir::DictionaryAttr params, bool backward, const CudaTarget &target);
  Grid grid(int64_t rows) const;

private:
  static int64_t stagesOf(const TileShape &tile);
  FrozenTile::Shape frozenOf(const TileShape &tile) const;
  int64_t sharedBytes(const TileShape &tile) const;
  bool fits(const TileShape &tile, const CudaTarget &target) const;
  void chooseTile(int64_t rows, const CudaTarget &target);
  friend std::string largestLinearTile(const CudaTarget &target);
};

} // namespace lorac::cuda
