#include "compiler/tools/Machine.h"

#include <fstream>
#include <string>

namespace lorac::tools {
namespace {

/// The lowest memory.max from this process's cgroup up to the root; 0 when there is none.
uint64_t cgroupLimit() {
  std::ifstream groups("/proc/self/cgroup");
  std::string line, path;
  while (std::getline(groups, line))
    if (line.compare(0, 3, "0::") == 0)
      path = line.substr(3);
  uint64_t lowest = 0;
  for (;;) {
    std::ifstream file("/sys/fs/cgroup" + path + "/memory.max");
    if (uint64_t bytes = 0; file >> bytes)
      lowest = lowest ? std::min(lowest, bytes) : bytes;
    if (path.empty() || path == "/")
      break;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  if (!lowest) // version 1 says a number near 2^63 for none
    if (std::ifstream file("/sys/fs/cgroup/memory/memory.limit_in_bytes");
        file >> lowest && lowest > (uint64_t(1) << 60))
      lowest = 0;
  return lowest;
}

} // namespace

MachineMemory machineMemory() {
  MachineMemory memory;
  std::ifstream file("/proc/meminfo");
  std::string word;
  while (file >> word) {
    uint64_t kib = 0;
    if (word == "MemTotal:" && file >> kib)
      memory.total = kib * 1024;
    else if (word == "MemAvailable:" && file >> kib)
      memory.available = kib * 1024;
  }
  memory.limit = cgroupLimit();
  return memory;
}

} // namespace lorac::tools
