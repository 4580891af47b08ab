#include "tests/numerics/cuda/Simulator.h"

#include <cstdlib>
#include <dlfcn.h>
#include <gtest/gtest.h>

using namespace lorac::test;

std::string Simulator::path() {
  if (const char *named = std::getenv("LORAC_LIBCUDA"))
    return named;
#ifdef PTXSIM_LIBRARY
  return PTXSIM_LIBRARY;
#else
  return "";
#endif
}

Simulator &Simulator::get() {
  static Simulator simulator;
  return simulator;
}

template <typename F>
F *Simulator::find(const char *name) {
  auto *function = library ? reinterpret_cast<F *>(dlsym(library, name)) : nullptr;
  if (!function)
    ADD_FAILURE() << "libcuda has no " << name;
  return function;
}

void Simulator::check(int result, const std::string &what) {
  if (result == 0)
    return;
  const char *name = "?";
  if (auto *errorName = find<int(int, const char **)>("cuGetErrorName"))
    errorName(result, &name);
  ADD_FAILURE() << what << ": " << name;
}

Simulator::Simulator() {
  library = dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    ADD_FAILURE() << dlerror();
    return;
  }
  check(find<int(unsigned)>("cuInit")(0), "cuInit");
  int device = 0;
  void *context = nullptr;
  check(find<int(int *, int)>("cuDeviceGet")(&device, 0), "cuDeviceGet");
  check(find<int(void **, int)>("cuDevicePrimaryCtxRetain")(&context, device),
        "cuDevicePrimaryCtxRetain");
  check(find<int(void *)>("cuCtxSetCurrent")(context), "cuCtxSetCurrent");
}

Simulator::Pointer Simulator::allocate(size_t bytes) {
  Pointer memory = 0;
  check(find<int(Pointer *, size_t)>("cuMemAlloc_v2")(&memory, bytes), "cuMemAlloc");
  return memory;
}
void Simulator::free(Pointer memory) {
  check(find<int(Pointer)>("cuMemFree_v2")(memory), "cuMemFree");
}
void Simulator::upload(Pointer to, const void *from, size_t bytes) {
  check(find<int(Pointer, const void *, size_t)>("cuMemcpyHtoD_v2")(to, from, bytes),
        "cuMemcpyHtoD");
}
void Simulator::download(void *to, Pointer from, size_t bytes) {
  check(find<int(void *, Pointer, size_t)>("cuMemcpyDtoH_v2")(to, from, bytes), "cuMemcpyDtoH");
}

void *Simulator::load(const std::string &ptx, const std::string &name, int sharedBytes) {
  void *module = nullptr, *function = nullptr;
  check(find<int(void **, const void *)>("cuModuleLoadData")(&module, ptx.c_str()),
        "cuModuleLoadData of " + name);
  if (!module)
    return nullptr;
  check(find<int(void **, void *, const char *)>("cuModuleGetFunction")(&function, module,
                                                                        name.c_str()),
        "cuModuleGetFunction " + name);
  constexpr int maxDynamicSharedSizeBytes = 8; // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
  if (function && sharedBytes > 48 * 1024)
    check(find<int(void *, int, int)>("cuFuncSetAttribute")(function, maxDynamicSharedSizeBytes,
                                                            sharedBytes),
          "cuFuncSetAttribute");
  return function;
}

void Simulator::launch(void *function, const int64_t (&grid)[3], int threads, int sharedBytes,
                       std::vector<void *> &arguments) {
  using Launch = int(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                     void *, void **, void **);
  check(find<Launch>("cuLaunchKernel")(function, unsigned(grid[0]), unsigned(grid[1]),
                                       unsigned(grid[2]), unsigned(threads), 1, 1,
                                       unsigned(sharedBytes), nullptr, arguments.data(), nullptr),
        "cuLaunchKernel");
}

void Simulator::finish() { check(find<int()>("cuCtxSynchronize")(), "cuCtxSynchronize"); }
