#include "runtime/gpu/Describe.h"

#include <fmt/format.h>

namespace lorac::gpu {

CudaDescription describeCuda() {
  CudaDescription out;
  out.library = driverLibrary();
  Result<std::shared_ptr<const Driver>> driver = Driver::open();
  if (!driver) {
    out.text = driver.error().message;
    return out;
  }
  out.driver = (*driver)->version();
  Result<std::vector<DeviceFacts>> devices = listDevices(**driver);
  if (!devices) {
    out.text = devices.error().message;
    return out;
  }
  out.devices = std::move(*devices);
  out.found = !out.devices.empty();
  out.text = fmt::format("{}, CUDA {}", out.library, out.driver);
  for (const DeviceFacts &device : out.devices)
    out.text += fmt::format("; {}, {:.1f} GiB, {} multiprocessors, {} KiB of shared memory a block",
                            device.shown(), double(device.memory) / double(1 << 30),
                            device.multiprocessors, device.sharedPerBlock >> 10);
  if (!out.found)
    out.text += "; it shows no GPU";
  return out;
}

} // namespace lorac::gpu
