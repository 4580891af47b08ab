#pragma once
// The CUDA driver, found at run time: a program for the CPU needs none, and one for a GPU says what
// was looked for.

#include "runtime/Result.h"
#include "runtime/gpu/DriverApi.h"

#include <memory>
#include <string>

namespace lorac::gpu {

/// The library that is looked for: $LORAC_LIBCUDA, else libcuda.so.1.
std::string driverLibrary();

/// LORAC_CUDA_SYNC=1: each launch is waited for, so that an error names the one that failed.
bool waitsForEachLaunch();

class Driver {
public:
  /// Loads the library and initialises it. Exit::Failed with what was looked for, why it is not
  /// there and what to do.
  static Result<std::shared_ptr<const Driver>> open();

  const DriverApi &call() const { return api; }
  const std::string &library() const { return path; }
  /// "12.8".
  std::string version() const;

  /// `what` is what was tried, in words: "copying 1.2 GiB to the GPU".
  Result<void> check(Status status, const std::string &what) const;
  Error error(Status status, const std::string &what) const;
  /// "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)".
  std::string words(Status status) const;

private:
  DriverApi api;
  std::string path;
};

} // namespace lorac::gpu
