// cuGetProcAddress: entry points by name. A plain name means its newest version, as with the real
// driver.
#include "tests/ptxsim/driver/CudaAbi.h"
#include <dlfcn.h>
#include <string>

namespace {

// This library itself, however it was loaded.
void *self() {
  static void *handle = [] {
    Dl_info info;
    bool known = dladdr(reinterpret_cast<void *>(&self), &info) != 0;
    return known ? dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD) : nullptr;
  }();
  return handle;
}

void *find(const std::string &name) {
  void *handle = self();
  for (const char *suffix : {"_v2", ""})
    if (void *found = dlsym(handle ? handle : RTLD_DEFAULT, (name + suffix).c_str()))
      return found;
  return nullptr;
}

} // namespace

PTXSIM_EXPORT cuGetProcAddress(const char *name, void **address, int, uint64_t) {
  *address = find(name);
  return *address ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

PTXSIM_EXPORT cuGetProcAddress_v2(const char *name, void **address, int version, uint64_t flags,
                                  int *status) {
  CUresult code = cuGetProcAddress(name, address, version, flags);
  if (status)
    *status = code ? 1 : 0; // found, or no such symbol
  return code;
}
