#pragma once
// A compiled kernel on the GPU: which of its binaries is taken, and whether the GPU can run it so.

#include "runtime/gpu/Context.h"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace lorac::gpu {

/// One kernel compiled for one architecture; "" where there is none.
struct KernelBinary {
  int capability = 0; ///< 80 of sm_80
  bool exact = false; ///< sm_90a: runs on no other
  std::string_view cubin, ptx;
};

/// How a kernel is launched.
struct BlockShape {
  int64_t threads = 1;
  int64_t shared = 0; ///< bytes of dynamic shared memory
};

class LoadedKernel {
public:
  /// The cubin of the highest architecture of the device's major version that is not above it, else
  /// the PTX of the highest one that is not above it, which the driver compiles. Errors name the
  /// kernel, what was tried and what to do.
  static Result<LoadedKernel> load(std::shared_ptr<const Context> context, const std::string &name,
                                   std::span<const KernelBinary> binaries, const BlockShape &shape);
  ~LoadedKernel();
  LoadedKernel(LoadedKernel &&other) noexcept;
  LoadedKernel &operator=(LoadedKernel &&other) noexcept;

  FunctionHandle function() const { return handle; }
  bool fromPtx() const { return jitted; }
  int architecture() const { return capability; } ///< that the binary was compiled for
  /// How many parameters it has; nothing from a driver that does not tell.
  std::optional<size_t> parameters() const;

private:
  LoadedKernel() = default;
  Result<void> check(const std::string &name, const BlockShape &shape) const;

  std::shared_ptr<const Context> context;
  ModuleHandle module = nullptr;
  FunctionHandle handle = nullptr;
  bool jitted = false;
  int capability = 0;
};

} // namespace lorac::gpu
