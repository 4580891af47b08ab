#pragma once
// C[m, 16p..] = start + Σs A[m, s] · P[p][s][16]: the blocked product that the GEMM families share.

#include "compiler/codegen/cpu/RegisterTile.h"

namespace lorac::cpu {

/// Block sizes: a panel of `depth` steps stays in L1, `rows` rows of A and `group` packed panels in L2.
struct GemmBlocks {
  int64_t depth = 192, rows = 240, group = 16;
};

/// A product over packed panels. Each element of C is one chain: it starts from `start` (or 0), adds the steps ascending,
/// then those of the extra term. Blocks cut the chain by way of memory, which changes no bit.
struct PanelGemm {
  RegisterTile tile;
  GemmBlocks blocks;
  int64_t steps; ///< length of the inner dimension
  mlir::Value a; ///< [rows, lda]: at least `steps` columns
  mlir::Value c; ///< [rows, ldc]: whole tiles are stored
  mlir::Value start; ///< memory of C's shape to start from; may be `c`; null for 0
  /// Fills panels [first, last) for steps [from, to) of this group; null where panels need no packing.
  std::function<void(mlir::Value first, mlir::Value last, mlir::Value from, mlir::Value to)> pack;
  /// Vector `v` of step `s` of a panel: packed by pack(), `first` and `from` being the group's and block's start.
  std::function<mlir::Value(mlir::Value panel, mlir::Value first, mlir::Value s, mlir::Value from, int64_t v)> panelAt;
  int64_t extraSteps = 0; ///< 0: no extra term
  mlir::Value extraA;     ///< [rows, ld]
  std::function<void(mlir::Value first, mlir::Value last)> packExtra;
  std::function<mlir::Value(mlir::Value panel, mlir::Value first, mlir::Value s, int64_t v)> extraAt;

  /// Emits the loops over panels [firstPanel, lastPanel) and rows [firstRow, lastRow).
  void build(KernelBuilder &k, mlir::Value firstPanel, mlir::Value lastPanel, mlir::Value firstRow, mlir::Value lastRow);

private:
  void buildTile(KernelBuilder &k, int64_t height, mlir::Value row, mlir::Value panel, mlir::Value group, mlir::Value from,
                 mlir::Value to);
};

} // namespace lorac::cpu
