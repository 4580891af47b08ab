#include "runtime/train/Module.h"

#include "runtime/UniqueFd.h"

#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

namespace lorac::train {

Result<Module> Module::load(std::string_view bytes) {
  UniqueFd file(memfd_create("lorac-module", MFD_CLOEXEC));
  if (!file)
    return Error{std::string("cannot create memory for the kernels: ") + std::strerror(errno)};
  if (writeAll(*file, bytes) < bytes.size())
    return Error{std::string("cannot write the kernels to memory: ") + std::strerror(errno)};
  void *opened = dlopen(("/proc/self/fd/" + std::to_string(*file)).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!opened) {
    const char *why = dlerror();
    return Error{std::string("cannot load the kernels: ") + (why ? why : "unknown"),
                 Exit::ForeignFile};
  }
  Module module;
  // The file stays open: dlopen knows objects by their names, and another module's would have this
  // one's number.
  module.handle = std::shared_ptr<void>(opened, [fd = file.release()](void *handle) {
    dlclose(handle);
    close(fd);
  });
  auto *version = static_cast<const uint32_t *>(dlsym(opened, "lorac_abi_version"));
  if (!version || *version != LORAC_ABI_VERSION)
    return Error{"the kernels are of ABI " +
                     (version ? std::to_string(*version) : std::string("none")) +
                     ", this program runs ABI " + std::to_string(LORAC_ABI_VERSION) +
                     "; compile the spec again",
                 Exit::ForeignFile};
  return module;
}

Result<LoracKernel> Module::kernel(const std::string &name) const {
  void *symbol = dlsym(handle.get(), name.c_str());
  if (!symbol)
    return Error{"module.so has no kernel '" + name + "'; compile the spec again",
                 Exit::ForeignFile};
  return reinterpret_cast<LoracKernel>(symbol);
}

} // namespace lorac::train
