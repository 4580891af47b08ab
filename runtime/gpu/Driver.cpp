#include "runtime/gpu/Driver.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>

namespace lorac::gpu {

namespace {

constexpr const char *mend =
    "install NVIDIA's driver (its library may lie elsewhere: LORAC_LIBCUDA names it), or compile "
    "the spec with --target cpu";

} // namespace

std::string driverLibrary() {
  const char *named = std::getenv("LORAC_LIBCUDA");
  return named && *named ? named : "libcuda.so.1";
}

bool waitsForEachLaunch() {
  const char *set = std::getenv("LORAC_CUDA_SYNC");
  return set && *set && std::strcmp(set, "0") != 0;
}

Result<std::shared_ptr<const Driver>> Driver::open() {
  auto driver = std::make_shared<Driver>();
  driver->path = driverLibrary();
  // Never closed: the driver has threads of its own.
  void *library = dlopen(driver->path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char *why = dlerror();
    return Error{"no CUDA driver: looked for '" + driver->path + "' (" +
                 (why ? why : "it does not load") + "); " + mend};
  }
#define LORAC_DRIVER_LOOKUP(member, symbol, parameters)                                            \
  driver->api.member = reinterpret_cast<Status(*) parameters>(dlsym(library, symbol));             \
  if (!driver->api.member)                                                                         \
    return Error{"the CUDA driver '" + driver->path +                                              \
                 "' has no '" symbol "': it is too old, or no driver; " + mend};
  LORAC_DRIVER_FUNCTIONS(LORAC_DRIVER_LOOKUP)
#undef LORAC_DRIVER_LOOKUP
#define LORAC_DRIVER_TRY(member, symbol, parameters)                                               \
  driver->api.member = reinterpret_cast<Status(*) parameters>(dlsym(library, symbol));
  LORAC_DRIVER_OPTIONAL(LORAC_DRIVER_TRY)
#undef LORAC_DRIVER_TRY

  if (Status status = driver->api.init(0); status != status::success)
    return Error{"no GPU can be used: the CUDA driver '" + driver->path + "' says " +
                 driver->words(status) +
                 "; look at what nvidia-smi and CUDA_VISIBLE_DEVICES say, or compile the spec with "
                 "--target cpu"};
  return std::shared_ptr<const Driver>(driver);
}

std::string Driver::version() const {
  int number = 0;
  api.driverGetVersion(&number);
  return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
}

std::string Driver::words(Status status) const {
  const char *name = nullptr, *text = nullptr;
  if (api.getErrorName(status, &name) != status::success || !name)
    return "error " + std::to_string(status);
  if (api.getErrorString(status, &text) != status::success || !text)
    return name;
  return std::string(name) + " (" + text + ")";
}

Error Driver::error(Status status, const std::string &what) const {
  std::string text = what + ": " + words(status);
  // What a kernel did shows at some later call.
  if (status >= status::firstOfKernels && status <= status::lastOfKernels && !waitsForEachLaunch())
    text += "; an earlier launch failed, LORAC_CUDA_SYNC=1 names it";
  return {text, status == status::outOfMemory ? Exit::DoesNotFit : Exit::Failed};
}

Result<void> Driver::check(Status status, const std::string &what) const {
  if (status == status::success)
    return {};
  return error(status, what);
}

} // namespace lorac::gpu
