#pragma once
// The adapted NF4 linear on a GPU, from 40-fused.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <string>

namespace lorac::cuda {

struct LinearKernel {
  mlir::func::FuncOp function;
  std::string preface; ///< formula, shapes and where it comes from
};

/// `y = [residual +] x·Wᵀ [+ scale·t·Bᵀ]` of a double-quantized NF4 weight in bitsandbytes' own
/// byte order, float32 throughout. Activations are dense `[tokens, n]`; `rows` is the number of
/// tokens. Inserts the kernel at the end of `device`.
mlir::FailureOr<LinearKernel> buildAdaptedLinear(lora::AdaptedLinearOp op, mlir::ModuleOp device);

/// `dx = [onto +] dy·W [+ dt·A]` from the same bytes.
mlir::FailureOr<LinearKernel> buildAdaptedLinearBackward(lora::AdaptedLinearBackwardOp op,
                                                         mlir::ModuleOp device);

} // namespace lorac::cuda
