#pragma once
// An elementwise body (a map's, or that of `each` or of a sum) on vectors: its scalar ops, one by
// one, in float32 or float64. Nothing is fused, and a division stays a division.

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// Succeeds where each op of the body has a vector form: arith.constant, addf, subf, mulf, divf,
/// negf, cmpf (olt, ogt, ole, oge, oeq, one), select, maximumf, minimumf, extf, truncf, math.absf,
/// the functions of dsl/Functions.def. Else an error at the op names it.
mlir::LogicalResult checkMapBody(mlir::Block &body);

/// What the checked body yields, given vectors of the target's lanes for its arguments.
/// `maximumf x, y` is `x > y ? x : y`: y where one of them is NaN, and where they are equal (zeros
/// of two signs); minimumf likewise. `exp` is KernelBuilder::vexp, clamped to e^±87.
KernelBuilder::Values vectoriseMapBody(KernelBuilder &k, mlir::Block &body,
                                       mlir::ValueRange arguments);

} // namespace lorac::cpu
