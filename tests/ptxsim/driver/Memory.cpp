// Allocations, copies and fills. Asynchronous ones join their stream; copies from pageable memory
// take their bytes at the call, those from pinned memory when they run.
#include "tests/ptxsim/driver/State.h"
#include "tests/ptxsim/driver/Streams.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include <cstring>
#include <memory>
#include <vector>

using namespace ptxsim;

namespace {

bool pinned(const void *host) {
  Allocation *allocation = deviceMemory().find(reinterpret_cast<uint64_t>(host));
  return allocation && allocation->onHost && !allocation->freed &&
         allocation->holds(reinterpret_cast<uint64_t>(host), 0);
}

bool onDevice(CUdeviceptr address, size_t bytes) { return deviceMemory().holds(address, bytes); }

CUresult allocate(CUdeviceptr *address, size_t bytes, bool onHost) {
  *address = 0;
  if (bytes == 0)
    return CUDA_ERROR_INVALID_VALUE;
  *address = deviceMemory().allocate(bytes, {}, onHost);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult release(CUdeviceptr address) {
  if (address == 0)
    return CUDA_SUCCESS;
  drainAll(); // work that is under way still has the memory
  if (!deviceMemory().release(address))
    return CUDA_ERROR_INVALID_VALUE;
  return settle();
}

CUresult toDevice(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  if (!onDevice(to, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  if (pinned(from))
    return enqueue(stream, [=] { deviceMemory().write(to, from, bytes); });
  auto staged = std::make_shared<std::vector<char>>(bytes);
  std::memcpy(staged->data(), from, bytes);
  return enqueue(stream, [=] { deviceMemory().write(to, staged->data(), bytes); });
}

CUresult toHost(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!onDevice(from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, [=] { deviceMemory().read(to, from, bytes); });
}

CUresult onDeviceCopy(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  if (!onDevice(to, bytes) || !onDevice(from, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, [=] { deviceMemory().copy(to, from, bytes); });
}

template <class T>
CUresult fill(CUdeviceptr to, T value, size_t count, CUstream stream) {
  if (to % sizeof(T) != 0 || !onDevice(to, count * sizeof(T)))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, [=] { deviceMemory().fill(to, &value, sizeof value, count); });
}

// A blocking copy: what the default stream waits for is done first.
CUresult finished(CUresult code) {
  if (code)
    return code;
  drain(legacyStream);
  return settle();
}

} // namespace

PTXSIM_EXPORT cuMemAlloc_v2(CUdeviceptr *address, size_t bytes) {
  PTXSIM_ENTER
  return allocate(address, bytes, false);
}
PTXSIM_EXPORT cuMemAlloc(CUdeviceptr *address, size_t bytes) {
  return cuMemAlloc_v2(address, bytes);
}

PTXSIM_EXPORT cuMemAllocManaged(CUdeviceptr *address, size_t bytes, unsigned) {
  PTXSIM_ENTER
  return allocate(address, bytes, true);
}

PTXSIM_EXPORT cuMemFree_v2(CUdeviceptr address) {
  PTXSIM_ENTER
  return release(address);
}
PTXSIM_EXPORT cuMemFree(CUdeviceptr address) { return cuMemFree_v2(address); }

PTXSIM_EXPORT cuMemHostAlloc(void **host, size_t bytes, unsigned) {
  PTXSIM_ENTER
  CUdeviceptr address = 0;
  CUresult code = allocate(&address, bytes, true);
  *host = reinterpret_cast<void *>(address);
  return code;
}
PTXSIM_EXPORT cuMemAllocHost_v2(void **host, size_t bytes) {
  return cuMemHostAlloc(host, bytes, 0);
}
PTXSIM_EXPORT cuMemAllocHost(void **host, size_t bytes) { return cuMemHostAlloc(host, bytes, 0); }

PTXSIM_EXPORT cuMemFreeHost(void *host) {
  PTXSIM_ENTER
  return release(reinterpret_cast<CUdeviceptr>(host));
}

PTXSIM_EXPORT cuMemHostGetDevicePointer_v2(CUdeviceptr *address, void *host, unsigned) {
  PTXSIM_ENTER
  *address = reinterpret_cast<CUdeviceptr>(host);
  return pinned(host) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
PTXSIM_EXPORT cuMemHostGetDevicePointer(CUdeviceptr *address, void *host, unsigned flags) {
  return cuMemHostGetDevicePointer_v2(address, host, flags);
}

PTXSIM_EXPORT cuMemGetInfo_v2(size_t *free, size_t *total) {
  PTXSIM_ENTER
  *total = deviceMemory().limit();
  *free = *total - deviceMemory().used();
  return CUDA_SUCCESS;
}
PTXSIM_EXPORT cuMemGetInfo(size_t *free, size_t *total) { return cuMemGetInfo_v2(free, total); }

PTXSIM_EXPORT cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes) {
  PTXSIM_ENTER
  return finished(toDevice(to, from, bytes, legacyStream));
}
PTXSIM_EXPORT cuMemcpyHtoD(CUdeviceptr to, const void *from, size_t bytes) {
  return cuMemcpyHtoD_v2(to, from, bytes);
}

PTXSIM_EXPORT cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes) {
  PTXSIM_ENTER
  return finished(toHost(to, from, bytes, legacyStream));
}
PTXSIM_EXPORT cuMemcpyDtoH(void *to, CUdeviceptr from, size_t bytes) {
  return cuMemcpyDtoH_v2(to, from, bytes);
}

// Between places of the device even the plain copy and fill do not wait.
PTXSIM_EXPORT cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  PTXSIM_ENTER
  return onDeviceCopy(to, from, bytes, legacyStream);
}
PTXSIM_EXPORT cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
  return cuMemcpyDtoD_v2(to, from, bytes);
}

PTXSIM_EXPORT cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes,
                                   CUstream stream) {
  PTXSIM_ENTER
  return toDevice(to, from, bytes, stream);
}
PTXSIM_EXPORT cuMemcpyHtoDAsync(CUdeviceptr to, const void *from, size_t bytes, CUstream stream) {
  return cuMemcpyHtoDAsync_v2(to, from, bytes, stream);
}

// To pageable memory the call returns once the copy is done.
PTXSIM_EXPORT cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  PTXSIM_ENTER
  CUresult code = toHost(to, from, bytes, stream);
  if (code || pinned(to))
    return code;
  drain(stream);
  return settle();
}
PTXSIM_EXPORT cuMemcpyDtoHAsync(void *to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return cuMemcpyDtoHAsync_v2(to, from, bytes, stream);
}

PTXSIM_EXPORT cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes,
                                   CUstream stream) {
  PTXSIM_ENTER
  return onDeviceCopy(to, from, bytes, stream);
}
PTXSIM_EXPORT cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream stream) {
  return cuMemcpyDtoDAsync_v2(to, from, bytes, stream);
}

PTXSIM_EXPORT cuMemsetD8_v2(CUdeviceptr to, unsigned char value, size_t count) {
  PTXSIM_ENTER
  return fill(to, value, count, legacyStream);
}
PTXSIM_EXPORT cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
  return cuMemsetD8_v2(to, value, count);
}

PTXSIM_EXPORT cuMemsetD16_v2(CUdeviceptr to, unsigned short value, size_t count) {
  PTXSIM_ENTER
  return fill(to, value, count, legacyStream);
}
PTXSIM_EXPORT cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
  return cuMemsetD16_v2(to, value, count);
}

PTXSIM_EXPORT cuMemsetD32_v2(CUdeviceptr to, unsigned value, size_t count) {
  PTXSIM_ENTER
  return fill(to, value, count, legacyStream);
}
PTXSIM_EXPORT cuMemsetD32(CUdeviceptr to, unsigned value, size_t count) {
  return cuMemsetD32_v2(to, value, count);
}

PTXSIM_EXPORT cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream stream) {
  PTXSIM_ENTER
  return fill(to, value, count, stream);
}

PTXSIM_EXPORT cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count,
                               CUstream stream) {
  PTXSIM_ENTER
  return fill(to, value, count, stream);
}

PTXSIM_EXPORT cuMemsetD32Async(CUdeviceptr to, unsigned value, size_t count, CUstream stream) {
  PTXSIM_ENTER
  return fill(to, value, count, stream);
}

// Managed memory is the host's own here: there is nothing to fetch.
PTXSIM_EXPORT cuMemPrefetchAsync(CUdeviceptr address, size_t bytes, CUdevice, CUstream stream) {
  PTXSIM_ENTER
  if (!onDevice(address, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return enqueue(stream, nullptr);
}
