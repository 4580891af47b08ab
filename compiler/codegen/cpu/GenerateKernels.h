#pragma once
// Stage 60-kernels of the CPU target: a function for each kernel of the plan.

#include "compiler/codegen/cpu/Target.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"

namespace lorac::cpu {

/// A module with one `func.func @<name>.body` for every `lora.kernel` of the planned module, in its
/// order, written in scf, vector, memref and arith; with `wanted` for those it holds of. Errors are
/// reported at the kernel's location.
mlir::FailureOr<mlir::OwningOpRef<mlir::ModuleOp>>
generateKernels(mlir::ModuleOp planned, const CpuTarget &target,
                llvm::function_ref<bool(lora::KernelOp)> wanted = nullptr);

} // namespace lorac::cpu
