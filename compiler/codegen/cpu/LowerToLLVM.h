#pragma once
// From kernel bodies to the LLVM dialect, with the entry points of runtime/abi.h.

#include "mlir/IR/BuiltinOps.h"

namespace lorac::cpu {

/// The attribute of a body with the number of its scalars.
inline constexpr llvm::StringLiteral scalarsOfBody = "lora.scalars";

/// Lowers a module of generateKernels in place. `@name.body` becomes an internal function with bare
/// pointers; an exported
/// `@name` of the type LoracKernel loads buffers and step and calls it.
mlir::LogicalResult lowerToLLVM(mlir::ModuleOp kernels);

} // namespace lorac::cpu
