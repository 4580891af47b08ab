#pragma once
// What there is of CUDA on this machine, for people: `lorac doctor`.

#include "runtime/gpu/Context.h"

#include <string>
#include <vector>

namespace lorac::gpu {

struct CudaDescription {
  bool found = false;  ///< a driver and at least one GPU
  std::string text;    ///< one line: driver and devices, or what was looked for and what to do
  std::string driver;  ///< version, "" without a driver
  std::string library; ///< that was looked for
  std::vector<DeviceFacts> devices;
};

CudaDescription describeCuda();

} // namespace lorac::gpu
