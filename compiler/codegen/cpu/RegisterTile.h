#pragma once
// The inner loop of every product: a tile of C in registers, one fused multiply-add chain an
// element.

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// Rows and width of the tile of C that stays in registers; `width = vectors * lanes` columns.
struct RegisterTile {
  int64_t height, vectors, lanes;
  int64_t width() const { return vectors * lanes; }

  /// The tile for C with `columns` columns: 16 wide (6 high with AVX2: 12 accumulators, 2 of B and
  /// 1 broadcast in 16 registers), narrower and higher where fewer columns are wanted.
  static RegisterTile forColumns(const CpuTarget &target, int64_t columns);
};

/// Values of C's tile, row by row; each row has `vectors` vectors.
using TileValues = KernelBuilder::Values;

/// `tile[r][v] = fma(a(r, s), b(v, s), tile[r][v])` for s in [from, to), ascending. `a` gives
/// scalars, `b` vectors. `multiple` divides `to - from`: the loop is unrolled by it, up to 4; 0: by
/// 4, and what is left follows one by one.
/// `ahead(s)` may ask for what comes later.
TileValues accumulate(KernelBuilder &k, int64_t height, int64_t vectors, mlir::Value from,
                      mlir::Value to, int64_t multiple, TileValues tile,
                      llvm::function_ref<mlir::Value(int64_t, mlir::Value)> a,
                      llvm::function_ref<mlir::Value(int64_t, mlir::Value)> b,
                      llvm::function_ref<void(mlir::Value)> ahead = {});

/// Covers rows [from, to) with tiles: whole ones first, then halves of what is left. `body(height,
/// first row)`.
void forRowTiles(KernelBuilder &k, int64_t height, mlir::Value from, mlir::Value to,
                 llvm::function_ref<void(int64_t, mlir::Value)> body);

/// Transposes `lanes` vectors of `lanes` lanes.
KernelBuilder::Values transpose(KernelBuilder &k, KernelBuilder::Values rows);

} // namespace lorac::cpu
