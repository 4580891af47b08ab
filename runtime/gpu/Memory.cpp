#include "runtime/gpu/Memory.h"

#include <cstring>
#include <utility>

namespace lorac::gpu {

Result<DeviceMemory> DeviceMemory::allocate(std::shared_ptr<const Context> context, uint64_t bytes,
                                            const std::string &what) {
  DeviceMemory memory;
  // The driver refuses to give nothing.
  Status status = context->call().memAlloc(&memory.base, bytes ? bytes : 1);
  if (status != status::success)
    return context->driver().error(status, "cannot get " + std::to_string(bytes) +
                                               " bytes of the GPU for " + what);
  memory.context = std::move(context);
  memory.size = bytes;
  return memory;
}

DeviceMemory::~DeviceMemory() {
  if (base)
    context->call().memFree(base);
}
DeviceMemory::DeviceMemory(DeviceMemory &&other) noexcept { *this = std::move(other); }
DeviceMemory &DeviceMemory::operator=(DeviceMemory &&other) noexcept {
  std::swap(context, other.context);
  std::swap(base, other.base);
  std::swap(size, other.size);
  return *this;
}

Result<PinnedMemory> PinnedMemory::allocate(std::shared_ptr<const Context> context,
                                            uint64_t bytes) {
  PinnedMemory memory;
  void *got = nullptr;
  Status status = context->call().memAllocHost(&got, bytes ? bytes : 1);
  if (status != status::success)
    return context->driver().error(status, "cannot pin " + std::to_string(bytes) +
                                               " bytes of this machine's memory");
  std::memset(got, 0, bytes);
  memory.base = static_cast<std::byte *>(got);
  memory.context = std::move(context);
  return memory;
}

PinnedMemory::~PinnedMemory() {
  if (base)
    context->call().memFreeHost(base);
}
PinnedMemory::PinnedMemory(PinnedMemory &&other) noexcept { *this = std::move(other); }
PinnedMemory &PinnedMemory::operator=(PinnedMemory &&other) noexcept {
  std::swap(context, other.context);
  std::swap(base, other.base);
  return *this;
}

} // namespace lorac::gpu
