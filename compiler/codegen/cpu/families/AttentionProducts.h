#pragma once
// The products inside attention: small matrices in scratch, and keys packed so that vectors run
// over keys.

#include "compiler/codegen/cpu/RegisterTile.h"

namespace lorac::cpu {

/// A matrix that begins at an element of a two-dimensional memory.
struct Submatrix {
  mlir::Value memory, row, column;

  mlir::SmallVector<mlir::Value, 2> at(KernelBuilder &k, mlir::Value i, mlir::Value j) const {
    return {k.add(row, i), k.add(column, j)};
  }
};

/// Columns of a full register tile, and keys of a panel.
constexpr int64_t tileColumns = 16;
/// Rows of a register tile; blocks of queries and keys are a multiple of it.
inline int64_t tileRows(KernelBuilder &k) {
  return RegisterTile::forColumns(k.cpu(), tileColumns).height;
}

/// Rows [row, row + tileRows) of C: C[row + r, 0..columns) += Σ_{kk in [first, last)} a(r,
/// kk)·B[kk, 0..columns). `columns` is a multiple of 8.
void accumulateRows(KernelBuilder &k, mlir::Value row, int64_t columns, mlir::Value first,
                    mlir::Value last, llvm::function_ref<mlir::Value(int64_t r, mlir::Value kk)> a,
                    const Submatrix &b, const Submatrix &c);

/// Keys [0, count) of `source` (a key a row, `dim` columns) as panels of 16 keys:
/// packed[panel][column][lane]. Lanes behind the last key hold anything.
void packKeys(KernelBuilder &k, const Submatrix &source, mlir::Value count, int64_t dim,
              mlir::Value packed);

/// Copies `count` rows of `columns` floats; columns from there to `padded` of the target become 0.
/// `change`, where given, maps a vector or a scalar of row `row`.
void copyRows(
    KernelBuilder &k, const Submatrix &source, const Submatrix &target, mlir::Value count,
    int64_t columns, int64_t padded,
    llvm::function_ref<mlir::Value(mlir::Value row, mlir::Value values)> change = nullptr);

/// Zeros in `count` rows of `columns` (a multiple of the lanes).
void zeroRows(KernelBuilder &k, const Submatrix &target, mlir::Value count, int64_t columns);

} // namespace lorac::cpu
