#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/Config.h"
#include <cstring>
#include <sys/mman.h>

namespace ptxsim {
namespace {

constexpr uint64_t page = 4096;
constexpr uint64_t alignment = 256;

uint64_t roundUp(uint64_t value, uint64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

void *reserve(uint64_t bytes, int protection) {
  void *at = mmap(nullptr, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? nullptr : at;
}

} // namespace

uint64_t DeviceMemory::limit() const { return config().memory; }

// Each allocation is a mapping of its own between two pages that nobody may touch. Addresses are
// never used twice.
uint64_t DeviceMemory::allocate(uint64_t size, std::string name, bool onHost) {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  if (size > limit() || (!onHost && usedBytes + size > limit()))
    return 0;
  uint64_t room = roundUp(size, page);
  Allocation allocation;
  allocation.size = size;
  allocation.onHost = onHost;
  allocation.name = std::move(name);
  allocation.mappedSize = room + 2 * page;
  void *mapped = reserve(allocation.mappedSize, PROT_NONE);
  if (!mapped || mprotect(static_cast<char *>(mapped) + page, room, PROT_READ | PROT_WRITE) != 0)
    return 0;
  allocation.mapped = reinterpret_cast<uint64_t>(mapped);
  // Device pointers are multiples of 256, and of no more than that.
  uint64_t slack = (room - size) / alignment * alignment;
  allocation.begin = allocation.mapped + page + (slack >= alignment ? alignment : 0);
  if (!onHost)
    std::memset(reinterpret_cast<void *>(allocation.begin), poisonByte, size);
  if (!onHost)
    allocation.defined = static_cast<uint8_t *>(reserve(room, PROT_READ | PROT_WRITE));
  allocation.touched = static_cast<uint64_t *>(reserve(8 * room, PROT_READ | PROT_WRITE));
  if (!onHost)
    usedBytes += size;
  allocations[allocation.begin] = allocation;
  return allocation.begin;
}

bool DeviceMemory::release(uint64_t address) {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  auto found = allocations.find(address);
  if (found == allocations.end() || found->second.freed)
    return false;
  Allocation &allocation = found->second;
  allocation.freed = true;
  if (!allocation.onHost)
    usedBytes -= allocation.size;
  uint64_t room = allocation.mappedSize - 2 * page;
  // The address stays taken, without memory: whoever still uses it is told so.
  madvise(reinterpret_cast<void *>(allocation.mapped), allocation.mappedSize, MADV_DONTNEED);
  mprotect(reinterpret_cast<void *>(allocation.mapped), allocation.mappedSize, PROT_NONE);
  if (allocation.defined)
    munmap(allocation.defined, room);
  munmap(allocation.touched, 8 * room);
  allocation.defined = nullptr;
  allocation.touched = nullptr;
  return true;
}

Allocation *DeviceMemory::find(uint64_t address) {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  auto above = allocations.upper_bound(address);
  return above == allocations.begin() ? nullptr : &std::prev(above)->second;
}

bool DeviceMemory::holds(uint64_t address, uint64_t bytes) {
  Allocation *allocation = find(address);
  return allocation && !allocation->freed && allocation->holds(address, bytes);
}

void DeviceMemory::write(uint64_t to, const void *from, uint64_t bytes) {
  Allocation *allocation = find(to);
  std::memcpy(reinterpret_cast<void *>(to), from, bytes);
  if (allocation->defined)
    std::memset(allocation->defined + (to - allocation->begin), 0xff, bytes);
}

void DeviceMemory::read(void *to, uint64_t from, uint64_t bytes) {
  std::memcpy(to, reinterpret_cast<const void *>(from), bytes);
}

// What was never written stays so in its copy.
void DeviceMemory::copy(uint64_t to, uint64_t from, uint64_t bytes) {
  Allocation *target = find(to), *source = find(from);
  std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
  if (!target->defined)
    return;
  uint8_t *flags = target->defined + (to - target->begin);
  if (source->defined)
    std::memmove(flags, source->defined + (from - source->begin), bytes);
  else
    std::memset(flags, 0xff, bytes);
}

void DeviceMemory::fill(uint64_t to, const void *pattern, uint64_t patternBytes, uint64_t count) {
  if (count == 0)
    return;
  auto *at = reinterpret_cast<uint8_t *>(to);
  for (uint64_t k = 0; k < count; ++k)
    std::memcpy(at + k * patternBytes, pattern, patternBytes);
  Allocation *allocation = find(to);
  if (allocation->defined)
    std::memset(allocation->defined + (to - allocation->begin), 0xff, patternBytes * count);
}

void DeviceMemory::forgetTouches() {
  std::lock_guard<std::recursive_mutex> lock(mutex);
  for (auto &[begin, allocation] : allocations)
    if (allocation.touched)
      madvise(allocation.touched, 8 * (allocation.mappedSize - 2 * page), MADV_DONTNEED);
}

DeviceMemory &deviceMemory() {
  static DeviceMemory *memory = new DeviceMemory; // outlives every static that frees late
  return *memory;
}

} // namespace ptxsim
