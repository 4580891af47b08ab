#pragma once
// From the LLVM dialect to machine code: objects, assembly and the linked module.so.

#include "compiler/codegen/cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

namespace lorac::cpu {

struct ObjectOptions {
  std::string
      linker; ///< path of ld.lld; empty: `ld.lld-22` or `ld.lld` of PATH, then LLVM's own folder
  unsigned threads = 2; ///< kernels are compiled side by side; the bytes do not depend on it
};

/// Compiles a lowered module (lowerToLLVM) and links it to the shared object at `path`: no
/// undefined symbols, no libc, the same bytes for the same module and target. The file appears only
/// when it is whole.
llvm::Error writeSharedObject(mlir::ModuleOp lowered, const CpuTarget &target, llvm::StringRef path,
                              const ObjectOptions &options = {});

/// Assembly of one kernel of a lowered module, as the object holds it.
llvm::Expected<std::string> assembleKernel(mlir::ModuleOp lowered, const CpuTarget &target,
                                           llvm::StringRef kernel);

} // namespace lorac::cpu
