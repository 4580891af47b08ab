// Device memory: allocations with their bounds, what of them is initialised, and which block
// touched what.
#ifndef PTXSIM_MACHINE_DEVICEMEMORY_H
#define PTXSIM_MACHINE_DEVICEMEMORY_H

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace ptxsim {

struct Allocation {
  uint64_t begin = 0, size = 0;
  bool freed = false;
  bool onHost = false;         // pinned or managed: the host writes there unseen
  uint8_t *defined = nullptr;  // one byte for each: 0xff once written; null: all of it
  uint64_t *touched = nullptr; // one cell for each granule: see GlobalRaces.h
  std::string name;            // of a module's variable

  // Of the mapping behind it.
  uint64_t mapped = 0, mappedSize = 0;

  bool holds(uint64_t address, uint64_t bytes) const {
    return address - begin <= size && size - (address - begin) >= bytes;
  }
};

class DeviceMemory {
public:
  /// 0 where there is no room (PTXSIM_MEMORY). `onHost` memory does not count.
  uint64_t allocate(uint64_t size, std::string name = {}, bool onHost = false);
  /// False where `address` does not begin an allocation.
  bool release(uint64_t address);

  /// The allocation, live or freed, at or next below the address.
  Allocation *find(uint64_t address);
  bool holds(uint64_t address, uint64_t bytes);

  void write(uint64_t to, const void *from, uint64_t bytes);
  void read(void *to, uint64_t from, uint64_t bytes);
  void copy(uint64_t to, uint64_t from, uint64_t bytes);
  void fill(uint64_t to, const void *pattern, uint64_t patternBytes, uint64_t count);

  uint64_t limit() const;
  uint64_t used() const { return usedBytes; }
  /// Forgets what blocks have touched: stamps of launches start again.
  void forgetTouches();

private:
  std::recursive_mutex mutex;
  std::map<uint64_t, Allocation> allocations;
  uint64_t usedBytes = 0;
};

DeviceMemory &deviceMemory();

constexpr uint8_t poisonByte = 0xCD;

} // namespace ptxsim

#endif
