#pragma once
// From the LLVM dialect to machine code: objects, assembly and the linked module.so.

#include "compiler/codegen/cpu/Target.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/SmallVector.h"

namespace lorac::cpu {

struct ObjectOptions {
  /// Path of ld.lld; empty: `ld.lld-22` or `ld.lld` of PATH, then LLVM's own folder.
  std::string linker;
  unsigned threads = 2; ///< kernels are compiled side by side; the bytes do not depend on it
};

/// One kernel as an object file, which exports `name`.
struct KernelObject {
  std::string name, bytes;
};

/// An object for each kernel of a lowered module (lowerToLLVM), in order.
llvm::Expected<std::vector<KernelObject>> compileObjects(mlir::ModuleOp lowered,
                                                         const CpuTarget &target, unsigned threads);

/// Links objects to the shared object at `path`, with `lorac_abi_version`: no undefined symbols, no
/// libc. The file appears only when it is whole.
llvm::Error linkObjects(std::vector<KernelObject> objects, const CpuTarget &target,
                        llvm::StringRef path, const ObjectOptions &options);

/// Both, one after the other: the same bytes for the same module and target.
llvm::Error writeSharedObject(mlir::ModuleOp lowered, const CpuTarget &target, llvm::StringRef path,
                              const ObjectOptions &options = {});

/// Assembly of one kernel of a lowered module, as the object holds it.
llvm::Expected<std::string> assembleKernel(mlir::ModuleOp lowered, const CpuTarget &target,
                                           llvm::StringRef kernel);

} // namespace lorac::cpu
