#include "runtime/train/Device.h"

#include "runtime/train/CpuDevice.h"
#include "runtime/train/CudaDevice.h"

namespace lorac::train {

Result<std::unique_ptr<Device>> openDevice(const BackendInput &input) {
  return input.plan.onGpu() ? CudaDevice::open(input) : CpuDevice::open(input);
}

std::vector<LaunchCount> launchCounts(const Plan &plan) {
  std::vector<LaunchCount> counts;
  size_t all = 0;
  for (const ProgramOfPlan &program : programsOfPlan)
    all += (plan.*program.launches).size();
  counts.reserve(all);
  for (size_t p = 0; p < programCount; ++p)
    for (const PlanLaunch &launch : plan.*programsOfPlan[p].launches)
      counts.push_back({Program(p), &launch, &plan.kernels[size_t(launch.kernel)]});
  return counts;
}

} // namespace lorac::train
