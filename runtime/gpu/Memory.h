#pragma once
// Memory of the GPU, and pinned memory of the host that copies go through.

#include "runtime/gpu/Context.h"

namespace lorac::gpu {

/// Taken once, given back with the object.
class DeviceMemory {
public:
  /// `what` names it in the error ("the arena"): Exit::DoesNotFit where the GPU has no more.
  static Result<DeviceMemory> allocate(std::shared_ptr<const Context> context, uint64_t bytes,
                                       const std::string &what);
  DeviceMemory() = default;
  ~DeviceMemory();
  DeviceMemory(DeviceMemory &&other) noexcept;
  DeviceMemory &operator=(DeviceMemory &&other) noexcept;

  DevicePtr at(int64_t offset) const { return base + uint64_t(offset); }
  uint64_t bytes() const { return size; }

private:
  std::shared_ptr<const Context> context;
  DevicePtr base = 0;
  uint64_t size = 0;
};

/// Zeroed.
class PinnedMemory {
public:
  static Result<PinnedMemory> allocate(std::shared_ptr<const Context> context, uint64_t bytes);
  PinnedMemory() = default;
  ~PinnedMemory();
  PinnedMemory(PinnedMemory &&other) noexcept;
  PinnedMemory &operator=(PinnedMemory &&other) noexcept;

  template <typename T = std::byte>
  T *at(int64_t offset) const {
    return reinterpret_cast<T *>(base + offset);
  }

private:
  std::shared_ptr<const Context> context;
  std::byte *base = nullptr;
};

} // namespace lorac::gpu
