#pragma once
// A program on the CUDA target's kernels: compiled by NVRTC, run by the PTX simulator.

#include "tests/numerics/cuda/DeviceKernels.h"
#include "tests/numerics/program/PlannedProgram.h"

namespace lorac::test {

class CudaProgram : public PlannedProgram {
public:
  /// Activations are bf16.
  explicit CudaProgram(const std::string &text,
                       std::map<std::string, reference::HostTensor> given = {});
  ~CudaProgram() override;

  /// Only inputs are written to the arena; everything else is what the allocation brought.
  reference::Outcome run(const std::string &function, const Inputs &inputs,
                         const reference::Environment &environment) override;

private:
  void pack(lora::FrozenOp op);
  void compile();

  std::map<std::string, std::vector<Simulator::Pointer>> parts; // of frozen weights
  DeviceKernels kernels;
  std::vector<Simulator::Pointer> allocations;
};

} // namespace lorac::test
