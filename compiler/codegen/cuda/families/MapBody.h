#pragma once
// The body of a lora.map on one element.

#include "compiler/codegen/cuda/DeviceBuilder.h"

namespace lorac::cuda {

/// Clones the body's ops with `arguments` for its arguments; what it yields.
llvm::SmallVector<mlir::Value> cloneMapBody(DeviceBuilder &d, mlir::Block &body,
                                            mlir::ValueRange arguments);

} // namespace lorac::cuda
