#pragma once
// One GPU: its facts, and its primary context made current.

#include "runtime/gpu/Driver.h"

#include <vector>

namespace lorac::gpu {

struct DeviceFacts {
  std::string name;
  int major = 0, minor = 0; ///< compute capability
  uint64_t memory = 0;      ///< bytes in all
  int multiprocessors = 0;
  int threadsPerBlock = 0;
  int sharedPerBlock = 0; ///< bytes that a kernel may ask for

  int capability() const { return major * 10 + minor; }
  /// "NVIDIA H100 (sm_90)".
  std::string shown() const;
};

/// All devices that the driver shows.
Result<std::vector<DeviceFacts>> listDevices(const Driver &driver);

class Context {
public:
  /// Of the first device (CUDA_VISIBLE_DEVICES chooses), current on the calling thread.
  /// Exit::Failed where there is none.
  static Result<std::shared_ptr<const Context>> open();
  ~Context();
  Context(const Context &) = delete;

  const Driver &driver() const { return *owner; }
  const DriverApi &call() const { return owner->call(); }
  const DeviceFacts &device() const { return facts; }
  Result<uint64_t> freeMemory() const;

private:
  Context() = default;
  std::shared_ptr<const Driver> owner;
  DeviceFacts facts;
  int ordinal = 0;
  bool retained = false;
};

} // namespace lorac::gpu
