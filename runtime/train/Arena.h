#pragma once
// Page-aligned zeroed memory, taken once at the start.

#include "runtime/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace lorac::train {

class Arena {
public:
  /// `what` names it in the error ("the arena"). Zero bytes are fine.
  static Result<Arena> allocate(uint64_t bytes, const char *what);

  /// Gives back what lies behind the first `size` bytes; the rest stays where it is.
  void shrink(uint64_t bytes);
  /// Zeroes [begin, bytes()); whole pages are given back until they are written.
  void clearFrom(uint64_t begin);

  std::byte *data() const { return memory.get(); }
  uint64_t bytes() const { return size; }
  template <typename T>
  T *at(int64_t offset) const {
    return reinterpret_cast<T *>(memory.get() + offset);
  }

private:
  struct Unmap {
    uint64_t bytes;
    Unmap() : bytes(0) {}
    explicit Unmap(uint64_t bytes) : bytes(bytes) {}
    void operator()(std::byte *memory) const;
  };
  std::unique_ptr<std::byte, Unmap> memory;
  uint64_t size = 0;
};

/// Makes the pages of [data, data + bytes), which may be written, resident now, so that nothing is
/// taken later. Error: Exit::DoesNotFit.
Result<void> makeResident(std::byte *data, uint64_t bytes);

/// How much of [data, data + bytes) is resident, in whole pages.
uint64_t residentIn(const void *data, uint64_t bytes);

/// Resident memory of this process now, in bytes; 0 if unknown.
uint64_t residentMemoryBytes();

/// Highest resident memory of this process so far (VmHWM), in bytes; 0 if unknown.
uint64_t peakMemoryBytes();

} // namespace lorac::train
