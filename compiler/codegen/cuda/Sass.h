#pragma once
// What a cubin's instructions say: by nvdisasm (the toolkit's, or PyPI's nvidia-cuda-nvdisasm),
// where it is.

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"

#include <optional>
#include <string>

namespace lorac::cuda {

/// The innermost loop with the most tensor-core instructions.
struct MainLoop {
  int64_t instructions = 0, mma = 0;
  double perMma() const { return double(instructions) / double(mma); }
};

class Disassembler {
public:
  /// $LORAC_NVDISASM, PATH, the places where PyPI's packages and toolkits lie; nothing where it is
  /// in none of them.
  static std::optional<Disassembler> find();

  /// Nothing where no loop multiplies on tensor cores.
  llvm::Expected<std::optional<MainLoop>> mainLoop(llvm::StringRef cubin) const;
  const std::string &path() const { return program; }

private:
  std::string program;
};

/// The main loop in nvdisasm's text.
std::optional<MainLoop> mainLoopOf(llvm::StringRef sass);

} // namespace lorac::cuda
