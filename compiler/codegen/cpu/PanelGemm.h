#pragma once
// C[m, 16p..] = start + Σs A[m, s] · P[p][s][16]: the blocked product that the GEMM families share.

#include "compiler/codegen/cpu/RegisterTile.h"

namespace lorac::cpu {

/// Block sizes: a panel of `depth` steps streams from L2 to L1, `rows` rows of A and `group` packed
/// panels share L2. Measured on Zen 4 (32 KB L1d, 1 MB L2): whole rows of up to 576 steps beat
/// blocks of 192 by 5 % of the peak.
struct GemmBlocks {
  int64_t depth, rows = 240, group = 16;
  int64_t panelsOfTile = 1; ///< panels that one tile of a launch covers

  /// Equal blocks of at most 576 steps, multiples of 64. Where sums are very long and panels few
  /// (dX of the head), tiles are coarse: each reads all of A.
  static GemmBlocks forProduct(int64_t steps, int64_t panels);
  /// Floats of scratch for a copy of A's block; 0 where its rows, `lda` floats apart, do not crowd
  /// into few sets of L2.
  int64_t copyOfA(int64_t lda) const;
};

/// A product over packed panels. Each element of C is one chain: it starts from `start` (or 0),
/// adds the steps ascending, then those of the extra term. Blocks cut the chain by way of memory,
/// which changes no bit.
struct PanelGemm {
  RegisterTile tile;
  GemmBlocks blocks;
  int64_t steps;          ///< length of the inner dimension; 0: known at run time only
  mlir::Value stepsAtRun; ///< then this
  Matrix a;               ///< [rows, lda]: at least `steps` columns
  Matrix c;               ///< [rows, ldc]: whole tiles are stored, unless `columns` is set
  Matrix start;           ///< memory of C's shape to start from; may be `c`; null for 0
  /// Fills panels [first, last) for steps [from, to) of this group; null where panels need no
  /// packing.
  std::function<void(mlir::Value first, mlir::Value last, mlir::Value from, mlir::Value to)> pack;
  /// Vector `v` of step `s` of a panel: packed by pack(), `first` and `from` being the group's and
  /// block's start.
  std::function<mlir::Value(mlir::Value panel, mlir::Value first, mlir::Value s, mlir::Value from,
                            int64_t v)>
      panelAt;
  mlir::Value copy; ///< `[blocks.rows][depth + 16]` for A's blocks; null where A is read in place
  mlir::Value columns; ///< not null: what stands in C's rows behind so many columns is left alone
  mlir::Value extraSteps; ///< of the launch; null: no extra term
  Matrix extraA;          ///< [rows, ld]
  std::function<void(mlir::Value first, mlir::Value last)> packExtra;
  std::function<mlir::Value(mlir::Value panel, mlir::Value first, mlir::Value s, int64_t v)>
      extraAt;

  /// Reads panels from where `pack` puts them: `[group][depth][width]`.
  void panelsFrom(KernelBuilder &k, mlir::Value packed);
  /// `n` extra steps of `a` [rows, ld] with panels from where `packExtra` puts them: atExtra().
  void extraFrom(KernelBuilder &k, mlir::Value n, Matrix a, mlir::Value packed);
  /// Where step s of a slot of the group lies in packed extra panels, `[group][n][width]` in one
  /// dimension: as close as `n` steps allow, whatever scratch is there.
  mlir::Value atExtra(KernelBuilder &k, mlir::Value slot, mlir::Value s, mlir::Value lane);
  /// A view of `floats` floats of scratch for `copy`.
  void useCopy(KernelBuilder &k, int64_t scratchOffset);

  /// Emits the loops over the panels of the launch's tiles, of `panels` in all, and all rows.
  void buildTiles(KernelBuilder &k, int64_t panels);
  /// Emits the loops over panels [firstPanel, lastPanel) and rows [firstRow, lastRow).
  void build(KernelBuilder &k, mlir::Value firstPanel, mlir::Value lastPanel, mlir::Value firstRow,
             mlir::Value lastRow);

private:
  mlir::Value allSteps(KernelBuilder &k) { return stepsAtRun ? stepsAtRun : k.index(steps); }
  /// Where a tile stands: panels from `group`, rows from `rowBlock`, steps [from, to).
  struct Place {
    mlir::Value group, from, to, rowBlock;
  };
  void copyBlock(KernelBuilder &k, const Place &place, mlir::Value rowEnd);
  void buildTile(KernelBuilder &k, int64_t height, mlir::Value row, mlir::Value panel,
                 const Place &place);
};

} // namespace lorac::cpu
