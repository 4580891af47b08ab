#pragma once
// An elementwise body (a map's, or that of `each` or of a sum) on one element, in float32 or
// float64.

#include "compiler/codegen/cuda/DeviceBuilder.h"

namespace lorac::cuda {

/// Clones the body's ops with `arguments` for its arguments; what it yields. `maximumf x, y` is
/// `x > y ? x : y`: y where one of them is NaN, and where they are equal (zeros of two signs);
/// minimumf likewise; `exp` is at most 1e38. An op that has no form here is refused where the
/// kernel is printed.
llvm::SmallVector<mlir::Value> cloneMapBody(DeviceBuilder &d, mlir::Block &body,
                                            mlir::ValueRange arguments);

/// The body's name of its argument (a location that is a name), where C knows it as one; else x
/// and its number.
std::string nameOf(mlir::BlockArgument argument);

} // namespace lorac::cuda
