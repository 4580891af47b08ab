#pragma once
// NVRTC as `compile --target cuda` finds it. Apart from the tools, since LLVM's errors are behind
// it.

#include <string>

namespace lorac::tools {

struct HostNvrtc {
  bool found;
  std::string text; ///< version and path, or what was looked for and what to do
};
HostNvrtc hostNvrtc();

} // namespace lorac::tools
