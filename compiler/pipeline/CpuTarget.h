#pragma once
// What the pipeline asks of the CPU target.

#include "compiler/pipeline/Pipeline.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

namespace lorac {

/// The dialects of 60-kernels.
void registerCpuDialects(mlir::DialectRegistry &registry);

/// Adds the pass that fills in tile space and scratch of every lora.kernel, as the CPU's families
/// describe them.
void addDescribeKernels(mlir::OpPassManager &pm, const std::string &cpu);

/// 60-kernels and module.so. `module` is at stage 50-planned.
mlir::LogicalResult emitCpu(mlir::ModuleOp module, const CompileRequest &request,
                            CompileResult &result);

} // namespace lorac
