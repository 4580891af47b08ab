#pragma once
// What the pipeline asks of the CUDA target.

#include "compiler/pipeline/Pipeline.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace lorac {

/// The dialects of device kernels.
void registerCudaDialects(mlir::DialectRegistry &registry);

/// bf16 or f16: `quantization.compute_dtype`, bf16 where that is auto.
std::string cudaCompute(const dsl::Spec &spec);

/// Generates the kernels of 50-planned as CUDA C++ (`kernels/*.cu`) and compiles them by NVRTC to
/// `kernels/sm_NN/*.cubin` and PTX for each of `request.cudaArchs`; writes the launches' grids into
/// the module. Without kernels: plan.json alone.
mlir::LogicalResult emitCuda(mlir::ModuleOp module, const CompileRequest &request, bool withKernels,
                             CompileResult &result);

} // namespace lorac
