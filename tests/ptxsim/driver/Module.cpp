// Modules, their functions and variables, and launches.
#include "tests/ptxsim/driver/State.h"
#include "tests/ptxsim/driver/Streams.h"
#include "tests/ptxsim/machine/Block.h"
#include "tests/ptxsim/machine/Config.h"
#include "tests/ptxsim/text/Parser.h"
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <set>
#include <sstream>

using namespace ptxsim;

PTXSIM_EXPORT cuDeviceGetAttribute(int *value, int attribute, CUdevice device);

namespace {

constexpr int plainDynamicShared = 49152;

struct Function {
  Kernel *kernel = nullptr;
  int maxDynamicShared = plainDynamicShared;
};

struct LoadedModule {
  std::shared_ptr<Module> module; // launches that wait hold it too
  std::map<std::string, std::unique_ptr<Function>> functions;
};

std::set<LoadedModule *> &modules() {
  static auto *all = new std::set<LoadedModule *>;
  return *all;
}

LoadedModule *moduleOf(CUmodule module) {
  auto *known = reinterpret_cast<LoadedModule *>(module);
  return modules().count(known) ? known : nullptr;
}

LoadedModule *ownerOf(CUfunction function) {
  for (LoadedModule *loaded : modules())
    for (const auto &[name, known] : loaded->functions)
      if (reinterpret_cast<CUfunction>(known.get()) == function)
        return loaded;
  return nullptr;
}

int attribute(int which) {
  int value = 0;
  cuDeviceGetAttribute(&value, which, 0);
  return value;
}

// The log that the caller gave room for gets the message; stderr gets it too.
void tellError(const LoadError &error, unsigned options, const int *names, void **values) {
  std::string message = "ptxsim: line " + std::to_string(error.line) + ": " + error.message;
  std::fprintf(stderr, "%s\n", message.c_str());
  char *log = nullptr;
  size_t size = 0, *used = nullptr;
  for (unsigned k = 0; k < options; ++k) {
    if (names[k] == CU_JIT_ERROR_LOG_BUFFER)
      log = static_cast<char *>(values[k]);
    if (names[k] == CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES) {
      // The size is the value itself, by the width of an unsigned int.
      size = static_cast<unsigned>(reinterpret_cast<uintptr_t>(values[k]));
      used = reinterpret_cast<size_t *>(&values[k]);
    }
  }
  if (!log || size == 0)
    return;
  std::snprintf(log, size, "%s", message.c_str());
  *used = std::min(size, message.size() + 1);
}

// The PTX that stands in for a kernel's own; "" where there is none.
std::string standIn(const Module &module) {
  if (config().ptxFolder.empty() || module.kernels.empty())
    return "";
  std::ifstream file(config().ptxFolder + "/" + module.kernels[0]->name + ".ptx");
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

CUresult checkLaunch(const Function &function, const Launch &launch) {
  const Kernel &kernel = *function.kernel;
  constexpr uint32_t mostBlocks[] = {2147483647, 65535, 65535}, mostThreads[] = {1024, 1024, 64};
  for (int axis = 0; axis < 3; ++axis)
    if (launch.grid[axis] == 0 || launch.grid[axis] > mostBlocks[axis] || launch.block[axis] == 0 ||
        launch.block[axis] > mostThreads[axis])
      return CUDA_ERROR_INVALID_VALUE;
  if (launch.threads() > 1024)
    return CUDA_ERROR_INVALID_VALUE;
  if (launch.threads() > kernel.text.maxThreads)
    return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  uint32_t optIn =
      static_cast<uint32_t>(attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN));
  uint64_t most = std::max<uint64_t>(
      static_cast<uint64_t>(function.maxDynamicShared),
      plainDynamicShared - std::min<uint32_t>(kernel.staticShared, plainDynamicShared));
  bool plainFits = kernel.staticShared + uint64_t(launch.dynamicShared) <= plainDynamicShared;
  bool raised = function.maxDynamicShared > plainDynamicShared || !plainFits;
  if (launch.dynamicShared > most ||
      (!plainFits && function.maxDynamicShared == plainDynamicShared) ||
      kernel.staticShared + uint64_t(launch.dynamicShared) > (raised ? optIn : plainDynamicShared))
    return CUDA_ERROR_INVALID_VALUE;
  // A block's number must fit the cells of global memory.
  return launch.blocks() > 0xfffff0 ? CUDA_ERROR_NOT_SUPPORTED : CUDA_SUCCESS;
}

} // namespace

PTXSIM_EXPORT cuModuleLoadDataEx(CUmodule *module, const void *image, unsigned options, int *names,
                                 void **values) {
  PTXSIM_ENTER
  *module = nullptr;
  if (!image)
    return CUDA_ERROR_INVALID_VALUE;
  // Binaries for GPUs, alone or in a fat one.
  constexpr unsigned char elf[] = {0x7f, 'E', 'L', 'F'}, fat[] = {0x50, 0xed, 0x55, 0xba};
  if (std::memcmp(image, elf, 4) == 0 || std::memcmp(image, fat, 4) == 0)
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  try {
    auto loaded = std::make_unique<LoadedModule>();
    loaded->module = loadModule(static_cast<const char *>(image));
    if (std::string text = standIn(*loaded->module); !text.empty())
      loaded->module = loadModule(text);
    for (const auto &kernel : loaded->module->kernels) {
      auto function = std::make_unique<Function>();
      function->kernel = kernel.get();
      loaded->functions[kernel->name] = std::move(function);
    }
    modules().insert(loaded.get());
    *module = reinterpret_cast<CUmodule>(loaded.release());
    return CUDA_SUCCESS;
  } catch (const LoadError &error) {
    tellError(error, options, names, values);
    return CUDA_ERROR_INVALID_PTX;
  }
}

PTXSIM_EXPORT cuModuleLoadData(CUmodule *module, const void *image) {
  return cuModuleLoadDataEx(module, image, 0, nullptr, nullptr);
}

PTXSIM_EXPORT cuModuleUnload(CUmodule module) {
  PTXSIM_ENTER
  LoadedModule *loaded = moduleOf(module);
  if (!loaded)
    return CUDA_ERROR_INVALID_HANDLE;
  drainAll();
  modules().erase(loaded);
  delete loaded;
  return settle();
}

PTXSIM_EXPORT cuModuleGetFunction(CUfunction *function, CUmodule module, const char *name) {
  PTXSIM_ENTER
  *function = nullptr;
  LoadedModule *loaded = moduleOf(module);
  if (!loaded)
    return CUDA_ERROR_INVALID_HANDLE;
  auto found = loaded->functions.find(name);
  if (found == loaded->functions.end())
    return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(found->second.get());
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuModuleGetGlobal_v2(CUdeviceptr *address, size_t *bytes, CUmodule module,
                                   const char *name) {
  PTXSIM_ENTER
  LoadedModule *loaded = moduleOf(module);
  if (!loaded)
    return CUDA_ERROR_INVALID_HANDLE;
  auto found = loaded->module->globals.find(name);
  if (found == loaded->module->globals.end())
    return CUDA_ERROR_NOT_FOUND;
  if (address)
    *address = found->second.first;
  if (bytes)
    *bytes = found->second.second;
  return CUDA_SUCCESS;
}
PTXSIM_EXPORT cuModuleGetGlobal(CUdeviceptr *address, size_t *bytes, CUmodule module,
                                const char *name) {
  return cuModuleGetGlobal_v2(address, bytes, module, name);
}

PTXSIM_EXPORT cuFuncGetAttribute(int *value, int which, CUfunction function) {
  PTXSIM_ENTER
  if (!ownerOf(function))
    return CUDA_ERROR_INVALID_HANDLE;
  const auto &known = *reinterpret_cast<Function *>(function);
  switch (which) {
  case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    *value = static_cast<int>(known.kernel->text.maxThreads);
    break;
  case CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES:
    *value = static_cast<int>(known.kernel->staticShared);
    break;
  case CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES:
    *value = static_cast<int>(known.kernel->localBytes);
    break;
  case CU_FUNC_ATTRIBUTE_NUM_REGS: // PTX does not say
    *value = 32;
    break;
  case CU_FUNC_ATTRIBUTE_PTX_VERSION:
  case CU_FUNC_ATTRIBUTE_BINARY_VERSION:
    *value = config().capability;
    break;
  case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES:
    *value = known.maxDynamicShared;
    break;
  default:
    *value = 0;
  }
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuFuncSetAttribute(CUfunction function, int which, int value) {
  PTXSIM_ENTER
  if (!ownerOf(function))
    return CUDA_ERROR_INVALID_HANDLE;
  auto &known = *reinterpret_cast<Function *>(function);
  if (which == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
    return CUDA_SUCCESS;
  if (which != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
      value + static_cast<int64_t>(known.kernel->staticShared) >
          attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN))
    return CUDA_ERROR_INVALID_VALUE;
  known.maxDynamicShared = value;
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuFuncSetCacheConfig(CUfunction function, int) {
  PTXSIM_ENTER
  return ownerOf(function) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

PTXSIM_EXPORT cuLaunchKernel(CUfunction function, unsigned gridX, unsigned gridY, unsigned gridZ,
                             unsigned blockX, unsigned blockY, unsigned blockZ,
                             unsigned dynamicShared, CUstream stream, void **args, void **extra) {
  PTXSIM_ENTER
  LoadedModule *owner = ownerOf(function);
  if (!owner)
    return CUDA_ERROR_INVALID_HANDLE;
  const auto &known = *reinterpret_cast<Function *>(function);
  Launch launch;
  launch.kernel = known.kernel;
  std::copy_n(std::begin({gridX, gridY, gridZ}), 3, launch.grid);
  std::copy_n(std::begin({blockX, blockY, blockZ}), 3, launch.block);
  launch.dynamicShared = dynamicShared;
  if (CUresult code = checkLaunch(known, launch))
    return code;
  if (extra || (!args && !launch.kernel->params.empty()))
    return CUDA_ERROR_INVALID_VALUE;
  // Arguments are taken now, work is done later.
  launch.params.resize(launch.kernel->paramBytes);
  for (size_t k = 0; k < launch.kernel->params.size(); ++k)
    std::memcpy(launch.params.data() + launch.kernel->params[k].offset, args[k],
                launch.kernel->params[k].size);
  return enqueue(stream, [launch, module = owner->module]() mutable { runLaunch(launch); });
}

PTXSIM_EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction function,
                                                          int blockSize, size_t dynamicShared) {
  PTXSIM_ENTER
  if (!ownerOf(function))
    return CUDA_ERROR_INVALID_HANDLE;
  const auto &known = *reinterpret_cast<Function *>(function);
  if (blockSize <= 0)
    return CUDA_ERROR_INVALID_VALUE;
  int threads = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  int shared = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR);
  int each = static_cast<int>(known.kernel->staticShared + dynamicShared) +
             attribute(CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK);
  int rounded = (blockSize + 31) / 32 * 32;
  *blocks = std::min({attribute(CU_DEVICE_ATTRIBUTE_MAX_BLOCKS_PER_MULTIPROCESSOR),
                      threads / rounded, shared / each});
  return CUDA_SUCCESS;
}

PTXSIM_EXPORT cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, CUfunction function,
                                                                   int blockSize,
                                                                   size_t dynamicShared, unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, blockSize, dynamicShared);
}
