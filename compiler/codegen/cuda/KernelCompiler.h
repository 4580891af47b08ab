#pragma once
// From a kernel's CUDA text to its binaries, on all cores, past what the cache holds.

#include "compiler/codegen/KernelCache.h"
#include "compiler/codegen/cuda/Nvrtc.h"
#include "compiler/codegen/cuda/Sass.h"
#include "llvm/ADT/ArrayRef.h"

#include <vector>

namespace lorac::cuda {

struct KernelSource {
  std::string name, text, arch; ///< arch: "sm_80"
};

struct BuiltKernel {
  CompiledKernel compiled;
  std::optional<MainLoop> loop; ///< nothing where no loop multiplies, or nvdisasm is not there
};

struct KernelCompiler {
  const Nvrtc &nvrtc;
  const std::optional<Disassembler> &disassembler;
  KernelCache &cache;
  int threads;

  /// In the order of the sources. The error is that of the first that fails.
  llvm::Expected<std::vector<BuiltKernel>> build(llvm::ArrayRef<KernelSource> sources) const;

private:
  llvm::Expected<BuiltKernel> build(const KernelSource &source) const;
};

} // namespace lorac::cuda
