#pragma once
// The CPU at hand in LLVM's words.

#include <string>
#include <vector>

namespace lorac::tools {

struct HostCpu {
  std::string name;                  ///< znver3
  std::vector<std::string> features; ///< those that kernels can use, sorted
};

HostCpu hostCpu();

} // namespace lorac::tools
