#pragma once
// What this machine gives a process: memory and its limits.

#include <cstdint>

namespace lorac::tools {

struct MachineMemory {
  uint64_t total = 0;     ///< bytes of the machine
  uint64_t available = 0; ///< bytes that can be had without swapping
  uint64_t limit = 0;     ///< of the cgroup; 0: none
  /// The most that a process can use at all.
  uint64_t most() const { return limit && limit < total ? limit : total; }
};

MachineMemory machineMemory();

} // namespace lorac::tools
