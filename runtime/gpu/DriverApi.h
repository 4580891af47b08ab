#pragma once
// The functions of the CUDA driver that lorac calls, as this program sees them: the numbers and
// types are the driver's stable ABI, so that a build needs no toolkit. tests/unit/gpu compares them
// with cuda.h where there is one.

#include <cstddef>
#include <cstdint>

namespace lorac::gpu {

using Status = int; ///< CUresult
using DevicePtr = uint64_t;
using ContextHandle = struct ContextOfDriver *;
using ModuleHandle = struct ModuleOfDriver *;
using FunctionHandle = struct FunctionOfDriver *;
using StreamHandle = struct StreamOfDriver *;
using EventHandle = struct EventOfDriver *;

namespace status {
constexpr Status success = 0, outOfMemory = 2, noDevice = 100, noBinaryForGpu = 209,
                 invalidPtx = 218, jitCompilerNotFound = 221, unsupportedPtxVersion = 222,
                 notFound = 500, firstOfKernels = 700,
                 lastOfKernels = 719; ///< illegal address … launch failed
} // namespace status

namespace attribute { // of devices
constexpr int maxThreadsPerBlock = 1, multiprocessors = 16, capabilityMajor = 75,
              capabilityMinor = 76, maxSharedPerBlockOptin = 97;
} // namespace attribute

namespace functionAttribute {
constexpr int maxThreadsPerBlock = 0, staticShared = 1, localBytes = 3, registers = 4,
              maxDynamicShared = 8;
} // namespace functionAttribute

namespace jit {
constexpr int errorLog = 5, errorLogBytes = 6;
} // namespace jit

constexpr unsigned streamNonBlocking = 1, eventDefault = 0, eventNoTiming = 2;

// member, symbol, parameters
#define LORAC_DRIVER_FUNCTIONS(F)                                                                  \
  F(getErrorName, "cuGetErrorName", (Status, const char **))                                       \
  F(getErrorString, "cuGetErrorString", (Status, const char **))                                   \
  F(init, "cuInit", (unsigned flags))                                                              \
  F(driverGetVersion, "cuDriverGetVersion", (int *))                                               \
  F(deviceGetCount, "cuDeviceGetCount", (int *))                                                   \
  F(deviceGet, "cuDeviceGet", (int *device, int ordinal))                                          \
  F(deviceGetName, "cuDeviceGetName", (char *, int, int device))                                   \
  F(deviceGetAttribute, "cuDeviceGetAttribute", (int *, int attribute, int device))                \
  F(deviceTotalMem, "cuDeviceTotalMem_v2", (size_t *, int device))                                 \
  F(primaryCtxRetain, "cuDevicePrimaryCtxRetain", (ContextHandle *, int device))                   \
  F(primaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (int device))                               \
  F(ctxSetCurrent, "cuCtxSetCurrent", (ContextHandle))                                             \
  F(memGetInfo, "cuMemGetInfo_v2", (size_t *free, size_t *total))                                  \
  F(memAlloc, "cuMemAlloc_v2", (DevicePtr *, size_t))                                              \
  F(memFree, "cuMemFree_v2", (DevicePtr))                                                          \
  F(memAllocHost, "cuMemAllocHost_v2", (void **, size_t))                                          \
  F(memFreeHost, "cuMemFreeHost", (void *))                                                        \
  F(memcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (DevicePtr, const void *, size_t, StreamHandle))      \
  F(memcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void *, DevicePtr, size_t, StreamHandle))            \
  F(memcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (DevicePtr, DevicePtr, size_t, StreamHandle))         \
  F(memsetD8Async, "cuMemsetD8Async", (DevicePtr, unsigned char, size_t, StreamHandle))            \
  F(moduleLoadDataEx, "cuModuleLoadDataEx",                                                        \
    (ModuleHandle *, const void *image, unsigned, int *options, void **values))                    \
  F(moduleUnload, "cuModuleUnload", (ModuleHandle))                                                \
  F(moduleGetFunction, "cuModuleGetFunction", (FunctionHandle *, ModuleHandle, const char *))      \
  F(funcGetAttribute, "cuFuncGetAttribute", (int *, int attribute, FunctionHandle))                \
  F(funcSetAttribute, "cuFuncSetAttribute", (FunctionHandle, int attribute, int))                  \
  F(launchKernel, "cuLaunchKernel",                                                                \
    (FunctionHandle, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,              \
     unsigned blockY, unsigned blockZ, unsigned sharedBytes, StreamHandle, void **arguments,       \
     void **extra))                                                                                \
  F(streamCreate, "cuStreamCreate", (StreamHandle *, unsigned flags))                              \
  F(streamDestroy, "cuStreamDestroy_v2", (StreamHandle))                                           \
  F(streamSynchronize, "cuStreamSynchronize", (StreamHandle))                                      \
  F(eventCreate, "cuEventCreate", (EventHandle *, unsigned flags))                                 \
  F(eventDestroy, "cuEventDestroy_v2", (EventHandle))                                              \
  F(eventRecord, "cuEventRecord", (EventHandle, StreamHandle))                                     \
  F(eventSynchronize, "cuEventSynchronize", (EventHandle))                                         \
  F(eventElapsedTime, "cuEventElapsedTime", (float *milliseconds, EventHandle, EventHandle))

// Those that older drivers lack: null there.
#define LORAC_DRIVER_OPTIONAL(F)                                                                   \
  F(funcGetParamInfo, "cuFuncGetParamInfo",                                                        \
    (FunctionHandle, size_t index, size_t *offset, size_t *bytes))

struct DriverApi {
#define LORAC_DRIVER_MEMBER(member, symbol, parameters) Status(*member) parameters = nullptr;
  LORAC_DRIVER_FUNCTIONS(LORAC_DRIVER_MEMBER)
  LORAC_DRIVER_OPTIONAL(LORAC_DRIVER_MEMBER)
#undef LORAC_DRIVER_MEMBER
};

} // namespace lorac::gpu
