#include "runtime/gpu/LoadedKernel.h"

#include <utility>
#include <vector>

namespace lorac::gpu {

namespace {

/// What every kernel has without asking.
constexpr int64_t sharedWithoutAsking = 48 << 10;

bool runsOn(const KernelBinary &binary, const DeviceFacts &device, bool sameMajor) {
  if (binary.exact)
    return binary.capability == device.capability();
  return binary.capability <= device.capability() &&
         (!sameMajor || binary.capability / 10 == device.major);
}

const KernelBinary *best(std::span<const KernelBinary> binaries, const DeviceFacts &device,
                         std::string_view KernelBinary::*form, bool sameMajor) {
  const KernelBinary *found = nullptr;
  for (const KernelBinary &binary : binaries)
    if (!(binary.*form).empty() && runsOn(binary, device, sameMajor) &&
        (!found || binary.capability > found->capability))
      found = &binary;
  return found;
}

std::string architectures(std::span<const KernelBinary> binaries) {
  std::string text;
  for (const KernelBinary &binary : binaries)
    text += (text.empty() ? "sm_" : ", sm_") + std::to_string(binary.capability);
  return text.empty() ? "nothing" : text;
}

struct Loaded {
  ModuleHandle module = nullptr;
  Status status = status::success;
  std::string log; ///< of the driver's compiler, its first line
};

Loaded loadImage(const Context &context, std::string_view image) {
  Loaded loaded;
  const std::string ended(image); // PTX has to end in a zero
  std::vector<char> log(4096);
  int options[] = {jit::errorLog, jit::errorLogBytes};
  void *values[] = {log.data(), reinterpret_cast<void *>(log.size())};
  loaded.status =
      context.call().moduleLoadDataEx(&loaded.module, ended.c_str(), 2, options, values);
  log.back() = 0;
  loaded.log = log.data();
  loaded.log.resize(std::min(loaded.log.size(), loaded.log.find('\n')));
  return loaded;
}

} // namespace

Result<LoadedKernel> LoadedKernel::load(std::shared_ptr<const Context> context,
                                        const std::string &name,
                                        std::span<const KernelBinary> binaries,
                                        const BlockShape &shape) {
  const DeviceFacts &device = context->device();
  const Driver &driver = context->driver();
  const std::string mend = "compile the spec with --arch sm_" + std::to_string(device.capability());
  const KernelBinary *cubin = best(binaries, device, &KernelBinary::cubin, true);
  const KernelBinary *ptx = best(binaries, device, &KernelBinary::ptx, false);
  if (!cubin && !ptx)
    return Error{"kernel '" + name + "' was compiled for " + architectures(binaries) + "; " +
                 device.shown() + " runs none of them; " + mend};

  LoadedKernel kernel;
  kernel.context = context;
  std::string tried;
  Status last = status::success;
  auto attempt = [&](const KernelBinary &binary, std::string_view image, const char *form) {
    Loaded loaded = loadImage(*context, image);
    last = loaded.status;
    if (loaded.status == status::success) {
      kernel.module = loaded.module;
      kernel.capability = binary.capability;
      return true;
    }
    tried += std::string(tried.empty() ? "" : "; ") + form + " of sm_" +
             std::to_string(binary.capability) + ": " + driver.words(loaded.status) +
             (loaded.log.empty() ? "" : ", '" + loaded.log + "'");
    return false;
  };
  if (!cubin || !attempt(*cubin, cubin->cubin, "cubin")) {
    kernel.jitted = true;
    if (!ptx || last == status::outOfMemory || !attempt(*ptx, ptx->ptx, "PTX")) {
      std::string what = "kernel '" + name + "' does not load on " + device.shown() + ": " + tried;
      if (last == status::unsupportedPtxVersion || last == status::invalidPtx ||
          last == status::jitCompilerNotFound)
        what += "; the driver knows CUDA " + driver.version() +
                ": a newer one may take the PTX, or " + mend;
      else
        what += "; " + mend;
      return Error{what, last == status::outOfMemory ? Exit::DoesNotFit : Exit::Failed};
    }
  }
  Status found = context->call().moduleGetFunction(&kernel.handle, kernel.module, name.c_str());
  if (found != status::success)
    return Error{"the binary of kernel '" + name +
                     "' holds no such kernel: " + driver.words(found) + "; compile the spec again",
                 Exit::ForeignFile};
  LORAC_TRY(kernel.check(name, shape));
  return kernel;
}

/// Against the limits of device and kernel; asks for the shared memory.
Result<void> LoadedKernel::check(const std::string &name, const BlockShape &shape) const {
  const DriverApi &call = context->call();
  const DeviceFacts &device = context->device();
  int threads = 0, staticShared = 0;
  Status status = call.funcGetAttribute(&threads, functionAttribute::maxThreadsPerBlock, handle);
  if (status == status::success)
    status = call.funcGetAttribute(&staticShared, functionAttribute::staticShared, handle);
  if (status != status::success)
    return context->driver().error(status, "asking what kernel '" + name + "' needs");
  if (shape.threads > threads)
    return Error{"kernel '" + name + "' is launched with " + std::to_string(shape.threads) +
                 " threads a block; its registers leave " + std::to_string(threads) + " on " +
                 device.shown() + "; compile the spec again, for this GPU"};
  if (shape.shared + staticShared > device.sharedPerBlock)
    return Error{"kernel '" + name + "' needs " + std::to_string(shape.shared + staticShared) +
                     " bytes of shared memory, a block of " + device.shown() + " has " +
                     std::to_string(device.sharedPerBlock) + "; compile the spec with --arch sm_" +
                     std::to_string(device.capability()),
                 Exit::DoesNotFit};
  if (shape.shared + staticShared > sharedWithoutAsking) {
    Status asked =
        call.funcSetAttribute(handle, functionAttribute::maxDynamicShared, int(shape.shared));
    if (asked != status::success)
      return context->driver().error(asked, "asking for " + std::to_string(shape.shared) +
                                                " bytes of shared memory for kernel '" + name +
                                                "'");
  }
  return {};
}

std::optional<size_t> LoadedKernel::parameters() const {
  if (!context->call().funcGetParamInfo)
    return std::nullopt;
  size_t count = 0, offset = 0, bytes = 0;
  while (context->call().funcGetParamInfo(handle, count, &offset, &bytes) == status::success)
    ++count;
  return count ? std::optional(count) : std::nullopt;
}

LoadedKernel::~LoadedKernel() {
  if (module)
    context->call().moduleUnload(module);
}
LoadedKernel::LoadedKernel(LoadedKernel &&other) noexcept { *this = std::move(other); }
LoadedKernel &LoadedKernel::operator=(LoadedKernel &&other) noexcept {
  std::swap(context, other.context);
  std::swap(module, other.module);
  std::swap(handle, other.handle);
  std::swap(jitted, other.jitted);
  std::swap(capability, other.capability);
  return *this;
}

} // namespace lorac::gpu
