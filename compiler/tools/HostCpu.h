#pragma once
// The CPU at hand in LLVM's words.

#include "runtime/Result.h"

#include <string>
#include <vector>

namespace lorac::tools {

struct HostCpu {
  std::string name;                  ///< znver3
  std::vector<std::string> features; ///< those that kernels can use, sorted
};

HostCpu hostCpu();

/// Whether kernels can be compiled for a CPU of this name (empty: the one at hand); the error says
/// which is meant.
Result<void> checkCpuName(const std::string &name);

} // namespace lorac::tools
