#pragma once
// What the row-wise kernels share: loops over the columns of one row, and functions that keep NaN
// visible.

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// Visits columns [0, n) vector by vector: a loop of `accumulators.size()` vectors a turn, one
/// accumulator each, then the vectors that are left. `visit(column, live, accumulator)` answers the
/// new accumulator; `live` is the number of lanes that count, less than the lanes only in the last
/// vector. The order is a function of n alone.
KernelBuilder::Values overColumns(
    KernelBuilder &k, int64_t n, mlir::ValueRange accumulators,
    llvm::function_ref<mlir::Value(mlir::Value column, int64_t live, mlir::Value accumulator)>
        visit);

/// The same without accumulators.
void overColumns(KernelBuilder &k, int64_t n,
                 llvm::function_ref<void(mlir::Value column, int64_t live)> visit);

/// Sum of the accumulators' lanes in a fixed order.
mlir::Value sumOf(KernelBuilder &k, mlir::ValueRange accumulators);

/// `value` where a lane is below `live`, `other` elsewhere.
mlir::Value keepLive(KernelBuilder &k, mlir::Value value, int64_t live, mlir::Value other);

/// A vector of a dense buffer that may end inside it: lanes from `live` on are 0 and are not read.
mlir::Value loadLive(KernelBuilder &k, mlir::Value memory, mlir::Value column, int64_t live);

/// Writes a vector, of which lanes from `live` on are left.
void storeLive(KernelBuilder &k, mlir::Value value, mlir::Value memory, mlir::ValueRange at,
               int64_t live);

enum class ExpRange { Whole, NotPositive };

/// e^x, relative error 2e-7: 0 below -87.3, infinite above 88.37, NaN for NaN. `NotPositive` is
/// cheaper, for x <= 0. Scalars and vectors. (Unlike KernelBuilder::vexp, which clamps.)
mlir::Value expOf(KernelBuilder &k, mlir::Value x, ExpRange range);

/// Natural logarithm of a scalar x >= 1, error 1 ulp (Cephes' logf); infinity and NaN pass through.
mlir::Value logOf(KernelBuilder &k, mlir::Value x);

/// For each tile of the `rows` space, `row(m)` for each of its rows: tile t holds rows [t·tile,
/// (t+1)·tile).
void forEachRow(KernelBuilder &k, int64_t tile, llvm::function_ref<void(mlir::Value m)> row);

} // namespace lorac::cpu
