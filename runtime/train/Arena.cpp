#include "runtime/train/Arena.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string>
#include <sys/mman.h>
#include <vector>

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

void Arena::shrink(uint64_t bytes) {
  const uint64_t mapped = std::max<uint64_t>((bytes + 4095) / 4096 * 4096, 4096);
  const uint64_t before = memory.get_deleter().bytes;
  if (mapped < before) {
    munmap(memory.get() + mapped, before - mapped);
    memory.get_deleter().bytes = mapped;
  }
  size = std::min(size, bytes);
}

void Arena::clearFrom(uint64_t begin) {
  const uint64_t page = std::min((begin + 4095) / 4096 * 4096, size);
  std::memset(memory.get() + begin, 0, page - begin);
  if (page < size)
    madvise(memory.get() + page, size - page, MADV_DONTNEED);
}

static constexpr uint64_t page = 4096;

Result<void> makeResident(std::byte *data, uint64_t bytes) {
  if (bytes == 0)
    return {};
  std::byte *const begin = data - uint64_t(data) % page, *const end = data + bytes;
#ifndef MADV_POPULATE_WRITE
  constexpr int MADV_POPULATE_WRITE = 23;
#endif
  if (madvise(begin, size_t(end - begin), MADV_POPULATE_WRITE) == 0)
    return {};
  if (errno != EINVAL) // a kernel before 5.14 does not know it
    return Error{"cannot get " + std::to_string(bytes) + " bytes: " + std::strerror(errno),
                 Exit::DoesNotFit};
  for (std::byte *at = begin; at < end; at += page) {
    volatile auto *byte = reinterpret_cast<volatile unsigned char *>(at);
    *byte = *byte;
  }
  return {};
}

uint64_t residentIn(const void *data, uint64_t bytes) {
  constexpr uint64_t atOnce = 1 << 14;
  const uint64_t begin = uint64_t(data) / page * page,
                 end = (uint64_t(data) + bytes + page - 1) / page * page;
  std::vector<unsigned char> here(atOnce);
  uint64_t count = 0;
  for (uint64_t at = begin; at < end; at += atOnce * page) {
    const uint64_t pages = std::min(atOnce, (end - at) / page);
    if (mincore(reinterpret_cast<void *>(at), pages * page, here.data()) != 0)
      return 0;
    count += uint64_t(std::count_if(here.begin(), here.begin() + int64_t(pages),
                                    [](unsigned char byte) { return byte & 1; }));
  }
  return count * page;
}

static uint64_t statusBytes(const char *key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(key, 0) == 0)
      return std::strtoull(line.c_str() + std::strlen(key), nullptr, 10) * 1024;
  return 0;
}

uint64_t residentMemoryBytes() { return statusBytes("VmRSS:"); }
uint64_t peakMemoryBytes() { return statusBytes("VmHWM:"); }

} // namespace lorac::train
