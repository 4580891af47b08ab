#pragma once
// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/Pipeline.h"
#include "mlir/IR/BuiltinOps.h"

namespace lorac {

/// The dialects of device kernels.
void registerCudaDialects(mlir::DialectRegistry &registry);

/// Prints the adapted NF4 linears of a module at stage 40-fused (forward and dX) as CUDA C++
/// (`kernels/*.cu`) and compiles them by NVRTC to `kernels/sm_NN/*.cubin` for each of
/// `request.cudaArchs`.
mlir::LogicalResult emitCuda(mlir::ModuleOp module, const CompileRequest &request,
                             CompileResult &result);

} // namespace lorac
