// Initialisation, the device and its attributes, the primary context, and the texts of errors.
#include "tests/ptxsim/driver/State.h"
#include "tests/ptxsim/driver/Streams.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/Report.h"
#include <cstdio>
#include <cstring>
#include <vector>

namespace ptxsim {

DriverState &state() {
  static DriverState *state = new DriverState;
  return *state;
}

CUcontext primaryContext() { return reinterpret_cast<CUcontext>(&state()); }

CUcontext &currentContext() {
  thread_local CUcontext current = nullptr;
  return current;
}

CUresult ready() {
  if (!state().initialised)
    return CUDA_ERROR_NOT_INITIALIZED;
  if (!currentContext() || state().retained == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  return state().sticky;
}

CUresult settle() {
  if (hasReports() && !config().keepGoing)
    state().sticky = CUDA_ERROR_ILLEGAL_ADDRESS;
  return state().sticky;
}

// Like an A100's; other capabilities differ in what a kernel's launch is checked against.
static int attributeOf(int attribute) {
  int capability = config().capability;
  bool small = capability == 86 || capability == 89 || capability / 10 == 12;
  int optIn = small ? 101376 : capability / 10 >= 9 ? 232448 : 166912;
  switch (attribute) {
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y:
    return 1024;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z:
    return 64;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X:
    return 2147483647;
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
  case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z:
    return 65535;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK:
    return 49152;
  case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY:
    return 65536;
  case CU_DEVICE_ATTRIBUTE_WARP_SIZE:
    return 32;
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
  case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR:
    return 65536;
  case CU_DEVICE_ATTRIBUTE_CLOCK_RATE:
    return 1410000;
  case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
    return 108;
  case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
  case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
  case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
  case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
  case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    return 1;
  case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE:
    return 1215000;
  case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH:
    return 5120;
  case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE:
    return 41943040;
  case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR:
    return small ? 1536 : 2048;
  case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT:
    return 2;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR:
    return capability / 10;
  case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
    return capability % 10;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
    return optIn;
  case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
    return optIn + 1024;
  case CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR:
    return small ? 24 : 32;
  case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK:
    return 1024;
  default:
    return 0;
  }
}

} // namespace ptxsim

using namespace ptxsim;

PTXSIM_EXPORT cuInit(unsigned flags) {
  state().initialised = flags == 0;
  return flags == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

PTXSIM_EXPORT cuDriverGetVersion(int *version) {
  *version = 13000;
  return CUDA_SUCCESS;
}

static CUresult device(CUdevice device) {
  return !state().initialised ? CUDA_ERROR_NOT_INITIALIZED
         : device != 0        ? CUDA_ERROR_INVALID_DEVICE
                              : CUDA_SUCCESS;
}

PTXSIM_EXPORT cuDeviceGetCount(int *count) {
  *count = 1;
  return device(0);
}

PTXSIM_EXPORT cuDeviceGet(CUdevice *result, int ordinal) {
  *result = 0;
  return device(ordinal);
}

PTXSIM_EXPORT cuDeviceGetName(char *name, int length, CUdevice which) {
  std::snprintf(name, static_cast<size_t>(length), "ptxsim (sm_%d)", config().capability);
  return device(which);
}

PTXSIM_EXPORT cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice which) {
  std::memcpy(uuid->bytes, "lorac-ptxsim-000", sizeof uuid->bytes);
  return device(which);
}

PTXSIM_EXPORT cuDeviceGetUuid(CUuuid *uuid, CUdevice which) {
  return cuDeviceGetUuid_v2(uuid, which);
}

PTXSIM_EXPORT cuDeviceTotalMem_v2(size_t *bytes, CUdevice which) {
  *bytes = deviceMemory().limit();
  return device(which);
}

PTXSIM_EXPORT cuDeviceTotalMem(size_t *bytes, CUdevice which) {
  return cuDeviceTotalMem_v2(bytes, which);
}

PTXSIM_EXPORT cuDeviceGetAttribute(int *value, int attribute, CUdevice which) {
  *value = attributeOf(attribute);
  return device(which);
}

PTXSIM_EXPORT cuDeviceComputeCapability(int *major, int *minor, CUdevice which) {
  *major = config().capability / 10;
  *minor = config().capability % 10;
  return device(which);
}

PTXSIM_EXPORT cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice which) {
  if (CUresult code = device(which))
    return code;
  ++state().retained;
  *context = primaryContext();
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuDevicePrimaryCtxRelease_v2(CUdevice which) {
  if (CUresult code = device(which))
    return code;
  if (state().retained == 0)
    return CUDA_ERROR_INVALID_CONTEXT;
  --state().retained;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuDevicePrimaryCtxRelease(CUdevice which) {
  return cuDevicePrimaryCtxRelease_v2(which);
}

PTXSIM_EXPORT cuDevicePrimaryCtxSetFlags_v2(CUdevice which, unsigned) { return device(which); }
PTXSIM_EXPORT cuDevicePrimaryCtxSetFlags(CUdevice which, unsigned) { return device(which); }

PTXSIM_EXPORT cuDevicePrimaryCtxGetState(CUdevice which, unsigned *flags, int *active) {
  *flags = 0;
  *active = state().retained > 0;
  return device(which);
}

static std::vector<CUcontext> &contextStack() {
  thread_local std::vector<CUcontext> stack;
  return stack;
}

static CUresult known(CUcontext context) {
  return !state().initialised                     ? CUDA_ERROR_NOT_INITIALIZED
         : context && context != primaryContext() ? CUDA_ERROR_INVALID_CONTEXT
                                                  : CUDA_SUCCESS;
}

PTXSIM_EXPORT cuCtxSetCurrent(CUcontext context) {
  if (CUresult code = known(context))
    return code;
  currentContext() = context;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuCtxGetCurrent(CUcontext *context) {
  *context = currentContext();
  return known(nullptr);
}

PTXSIM_EXPORT cuCtxPushCurrent_v2(CUcontext context) {
  if (CUresult code = known(context))
    return code;
  contextStack().push_back(currentContext());
  currentContext() = context;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuCtxPushCurrent(CUcontext context) { return cuCtxPushCurrent_v2(context); }

PTXSIM_EXPORT cuCtxPopCurrent_v2(CUcontext *context) {
  if (!currentContext())
    return CUDA_ERROR_INVALID_CONTEXT;
  if (context)
    *context = currentContext();
  currentContext() = contextStack().empty() ? nullptr : contextStack().back();
  if (!contextStack().empty())
    contextStack().pop_back();
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuCtxPopCurrent(CUcontext *context) { return cuCtxPopCurrent_v2(context); }

PTXSIM_EXPORT cuCtxGetDevice(CUdevice *which) {
  PTXSIM_ENTER
  *which = 0;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuCtxSynchronize() {
  PTXSIM_ENTER
  drainAll();
  return settle();
}

namespace {
struct ErrorText {
  CUresult code;
  const char *name, *text;
};
constexpr ErrorText errorTexts[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEINITIALIZED, "CUDA_ERROR_DEINITIALIZED", "driver shutting down"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
     "no kernel image is available for execution on the device"},
    {CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
     "an illegal memory access was encountered"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
     "too many resources requested for launch"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};
} // namespace

PTXSIM_EXPORT cuGetErrorName(CUresult code, const char **name) {
  *name = nullptr;
  for (const ErrorText &entry : errorTexts)
    if (entry.code == code)
      *name = entry.name;
  return *name ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

PTXSIM_EXPORT cuGetErrorString(CUresult code, const char **text) {
  *text = nullptr;
  for (const ErrorText &entry : errorTexts)
    if (entry.code == code)
      *text = entry.text;
  return *text ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
