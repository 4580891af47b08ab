#pragma once
// Kernels whose warps take a row each.

#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/families/Pieces.h"

namespace lorac::cuda {

constexpr int64_t rowThreads = 128, rowsPerBlock = rowThreads / 32;

inline Grid rowGrid(mlir::DictionaryAttr, const CudaTarget &, int64_t rows) {
  return {ceilDiv(rows, rowsPerBlock), 1, 1};
}

/// The warp's row, named `row`; warps behind the last row are done. No barrier may follow.
inline Int warpRow(DeviceBuilder &d) {
  Int row = d.named("row", d.blockX() * rowsPerBlock + d.warp());
  d.returnIf(d.rows() <= row);
  return row;
}

/// The row's columns, those of the warp's 32 lanes side by side.
inline void overColumns(DeviceBuilder &d, int64_t columns, llvm::function_ref<void(Int)> body) {
  d.loop("col", d.lane(), d.constant(columns), 32, body);
}

/// The same by pieces of eight; `col` is a piece's first.
inline void overPieces(DeviceBuilder &d, int64_t columns, llvm::function_ref<void(Int)> body) {
  d.loop("col", d.lane() * Pieces::size, d.constant(columns), 32 * Pieces::size, body);
}

} // namespace lorac::cuda
