#pragma once
// 50-planned -> 60-kernels for CUDA: a module with one func.func for each lora.kernel.

#include "compiler/codegen/cuda/Families.h"

namespace lorac::cuda {

/// Functions in the order of the kernels, with the attributes `cuda.threads` and `cuda.shared`.
/// Failure: the user has been told.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>> generateKernels(mlir::ModuleOp planned,
                                                                   const CudaTarget &target);

/// Writes the blocks of each launch as its attribute `grid`.
mlir::LogicalResult setGrids(mlir::ModuleOp planned, const CudaTarget &target);

} // namespace lorac::cuda
