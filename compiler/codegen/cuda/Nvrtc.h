#pragma once
// NVRTC, found at run time.

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <memory>
#include <string>

namespace lorac::cuda {

struct CompiledKernel {
  std::string cubin, ptx;
  // As ptxas says; of an architecture that starts with sm_.
  int64_t registers = 0, spillBytes = 0, stackBytes = 0;
  /// What NVRTC and ptxas said, warnings among it; without the times that it took.
  std::string log = {};
};

class Nvrtc {
public:
  /// Opens libnvrtc: `path`, $LORAC_NVRTC, the loader's search, the usual toolkit folders, PyPI's
  /// nvidia-cuda-nvrtc. The error lists what was looked for and what to do.
  static llvm::Expected<Nvrtc> open(llvm::StringRef path = "");

  const std::string &path() const;
  /// "13.0".
  std::string version() const;

  /// What every kernel is compiled with, beside its architecture.
  static std::string options();

  /// Compiles a header-free translation unit for one architecture ("sm_80"). The error is NVRTC's
  /// log.
  llvm::Expected<CompiledKernel> compile(llvm::StringRef source, llvm::StringRef name,
                                         llvm::StringRef arch) const;

private:
  struct Library;
  std::shared_ptr<const Library> library;
};

} // namespace lorac::cuda
