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

/// nvdisasm, which reads the instructions of kernels' main loops.
HostNvrtc hostNvdisasm();

/// The architecture to compile for on a device of this compute capability (90: "sm_90"): the newest
/// of its major version that is not above it; "" where none is known.
std::string archFor(int capability);

/// What is compiled for an architecture, and how large its tiles are.
std::string kernelsShown(const std::string &arch);

} // namespace lorac::tools
