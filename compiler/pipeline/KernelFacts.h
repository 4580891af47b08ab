#pragma once
// What compiled kernels cost: kernels.json, and the same as a table.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace lorac {

struct KernelFacts {
  std::string kernel, arch;
  int64_t threads = 0, registers = 0, sharedBytes = 0, spillBytes = 0;
  int64_t residentBlocks = 0; ///< on one multiprocessor
  double occupancy = 0;       ///< resident warps of the most that there can be
  std::string log; ///< of the compiler: whatever else it had to say about a kernel that it took
  /// In the main loop; nothing where none multiplies, or where nvdisasm is not there.
  std::optional<double> instructionsPerMma;
};

std::string kernelFactsJson(const std::vector<KernelFacts> &all);
std::string kernelFactsTable(const std::vector<KernelFacts> &all);

} // namespace lorac
