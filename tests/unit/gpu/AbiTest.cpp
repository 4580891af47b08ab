// Our own declarations of the driver against NVIDIA's header, where there is one.
#include "runtime/gpu/DriverApi.h"

#include <gtest/gtest.h>

#ifdef LORAC_HAS_CUDA_H
#include <cuda.h>

#include <type_traits>

namespace lorac::gpu {
namespace {

// cuda.h names the versions that it declares by macros: cuMemAlloc is cuMemAlloc_v2.
#define TEXT(x) #x
#define NAME(x) TEXT(x)

template <typename Ours, typename Theirs>
constexpr bool alike() {
  if constexpr (std::is_pointer_v<Ours> && std::is_pointer_v<Theirs>)
    return true;
  else
    return !std::is_pointer_v<Ours> && !std::is_pointer_v<Theirs> && sizeof(Ours) == sizeof(Theirs);
}

/// The same number of parameters, each of the same size and kind.
template <typename... Ours, typename... Theirs>
constexpr bool sameCall(Status (*)(Ours...), CUresult (*)(Theirs...)) {
  if constexpr (sizeof...(Ours) != sizeof...(Theirs))
    return false;
  else
    return (alike<Ours, Theirs>() && ...);
}

#define SAME(member, function)                                                                     \
  static_assert(sameCall(decltype(DriverApi::member)(), decltype (&function)()), #function);       \
  EXPECT_STREQ(symbols[index++], NAME(function))

#define SYMBOL(member, symbol, parameters) symbol,
const char *const symbols[] = {LORAC_DRIVER_FUNCTIONS(SYMBOL)};

TEST(DriverAbi, FunctionsAreTheHeaders) {
  size_t index = 0;
  SAME(getErrorName, cuGetErrorName);
  SAME(getErrorString, cuGetErrorString);
  SAME(init, cuInit);
  SAME(driverGetVersion, cuDriverGetVersion);
  SAME(deviceGetCount, cuDeviceGetCount);
  SAME(deviceGet, cuDeviceGet);
  SAME(deviceGetName, cuDeviceGetName);
  SAME(deviceGetAttribute, cuDeviceGetAttribute);
  SAME(deviceTotalMem, cuDeviceTotalMem);
  SAME(primaryCtxRetain, cuDevicePrimaryCtxRetain);
  SAME(primaryCtxRelease, cuDevicePrimaryCtxRelease);
  SAME(ctxSetCurrent, cuCtxSetCurrent);
  SAME(memGetInfo, cuMemGetInfo);
  SAME(memAlloc, cuMemAlloc);
  SAME(memFree, cuMemFree);
  SAME(memAllocHost, cuMemAllocHost);
  SAME(memFreeHost, cuMemFreeHost);
  SAME(memcpyHtoDAsync, cuMemcpyHtoDAsync);
  SAME(memcpyDtoHAsync, cuMemcpyDtoHAsync);
  SAME(memcpyDtoDAsync, cuMemcpyDtoDAsync);
  SAME(memsetD8Async, cuMemsetD8Async);
  SAME(moduleLoadDataEx, cuModuleLoadDataEx);
  SAME(moduleUnload, cuModuleUnload);
  SAME(moduleGetFunction, cuModuleGetFunction);
  SAME(funcGetAttribute, cuFuncGetAttribute);
  SAME(funcSetAttribute, cuFuncSetAttribute);
  SAME(launchKernel, cuLaunchKernel);
  SAME(streamCreate, cuStreamCreate);
  SAME(streamDestroy, cuStreamDestroy);
  SAME(streamSynchronize, cuStreamSynchronize);
  SAME(eventCreate, cuEventCreate);
  SAME(eventDestroy, cuEventDestroy);
  SAME(eventRecord, cuEventRecord);
  SAME(eventSynchronize, cuEventSynchronize);
  ++index; // cuEventElapsedTime: newer headers declare a _v2, every driver has the first
  EXPECT_EQ(index, std::size(symbols));
}

#if CUDA_VERSION >= 12040
static_assert(sameCall(decltype(DriverApi::funcGetParamInfo)(), decltype (&cuFuncGetParamInfo)()));
#endif

TEST(DriverAbi, NumbersAreTheHeaders) {
  EXPECT_EQ(status::outOfMemory, CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(status::noDevice, CUDA_ERROR_NO_DEVICE);
  EXPECT_EQ(status::noBinaryForGpu, CUDA_ERROR_NO_BINARY_FOR_GPU);
  EXPECT_EQ(status::invalidPtx, CUDA_ERROR_INVALID_PTX);
  EXPECT_EQ(status::jitCompilerNotFound, CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
  EXPECT_EQ(status::unsupportedPtxVersion, CUDA_ERROR_UNSUPPORTED_PTX_VERSION);
  EXPECT_EQ(status::notFound, CUDA_ERROR_NOT_FOUND);
  EXPECT_EQ(status::firstOfKernels, CUDA_ERROR_ILLEGAL_ADDRESS);
  EXPECT_EQ(status::lastOfKernels, CUDA_ERROR_LAUNCH_FAILED);
  EXPECT_EQ(attribute::maxThreadsPerBlock, CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  EXPECT_EQ(attribute::multiprocessors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  EXPECT_EQ(attribute::capabilityMajor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  EXPECT_EQ(attribute::capabilityMinor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  EXPECT_EQ(attribute::maxSharedPerBlockOptin,
            CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  EXPECT_EQ(functionAttribute::maxThreadsPerBlock, CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK);
  EXPECT_EQ(functionAttribute::staticShared, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES);
  EXPECT_EQ(functionAttribute::localBytes, CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES);
  EXPECT_EQ(functionAttribute::registers, CU_FUNC_ATTRIBUTE_NUM_REGS);
  EXPECT_EQ(functionAttribute::maxDynamicShared, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
  EXPECT_EQ(jit::errorLog, CU_JIT_ERROR_LOG_BUFFER);
  EXPECT_EQ(jit::errorLogBytes, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES);
  EXPECT_EQ(streamNonBlocking, unsigned(CU_STREAM_NON_BLOCKING));
  EXPECT_EQ(eventDefault, unsigned(CU_EVENT_DEFAULT));
  EXPECT_EQ(eventNoTiming, unsigned(CU_EVENT_DISABLE_TIMING));
}

} // namespace
} // namespace lorac::gpu
#endif
