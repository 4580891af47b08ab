#include "runtime/train/Arena.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <sys/mman.h>

namespace lorac::train {

void Arena::Unmap::operator()(std::byte *memory) const { munmap(memory, bytes); }

Result<Arena> Arena::allocate(uint64_t bytes, const char *what) {
  uint64_t mapped = (bytes + 4095) / 4096 * 4096 + (bytes == 0 ? 4096 : 0);
  void *memory = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED)
    return Error{"cannot get " + std::to_string(bytes) + " bytes for " + what + ": " +
                     std::strerror(errno),
                 Exit::DoesNotFit};
  madvise(memory, mapped, MADV_HUGEPAGE); // fewer TLB misses; kernels walk long rows
  Arena arena;
  arena.memory = {static_cast<std::byte *>(memory), Unmap(mapped)};
  arena.size = bytes;
  return arena;
}

uint64_t peakMemoryBytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0)
      return std::strtoull(line.c_str() + 6, nullptr, 10) * 1024;
  return 0;
}

} // namespace lorac::train
