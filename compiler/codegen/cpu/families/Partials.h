#pragma once
// Sums in float64 whose order no target changes: number i is added to partial i mod n, and the
// partials are halved, n / 2, …, 1. Products and sums are rounded apart, so neither threads nor the
// vectors of a target change a bit.

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// `partials` (16 or more) float64 lie at the beginning of the scratch. `numbers` answers the
/// vector from number i on: all lanes where there is no mask.
mlir::Value sumInPartials(KernelBuilder &k, int64_t partials, mlir::Value count,
                          llvm::function_ref<mlir::Value(mlir::Value i, mlir::Value mask)> numbers);

} // namespace lorac::cpu
