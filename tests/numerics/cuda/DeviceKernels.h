#pragma once
// The kernels of a planned module, compiled by NVRTC and loaded into the PTX simulator.

#include "compiler/dialect/LoraOps.h"
#include "tests/numerics/cuda/Simulator.h"

#include <map>

namespace lorac::test {

class DeviceKernels {
public:
  /// Failures are the test's; `empty` then.
  void compile(mlir::ModuleOp planned);
  bool empty() const { return kernels.empty(); }

  /// Enqueues a launch; `pointers` are those of its buffers and weights' parts.
  void launch(lora::LaunchOp launch, std::vector<Simulator::Pointer> pointers,
              Simulator::Pointer step) const;

private:
  struct Kernel {
    void *function = nullptr;
    int threads = 0, shared = 0;
  };
  std::map<std::string, Kernel> kernels;
};

} // namespace lorac::test
