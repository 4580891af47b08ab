#pragma once
// Device kernels as CUDA C++ that people read and NVRTC compiles: no headers, values under their
// names.

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace lorac::cuda {

/// One kernel with the functions that it calls, as one translation unit; `preface` stands above it,
/// a comment line for each of its lines. Any op, type or memory space that the printer does not
/// know is an error at its location.
mlir::FailureOr<std::string> printCuda(mlir::func::FuncOp kernel, llvm::StringRef preface);

} // namespace lorac::cuda
