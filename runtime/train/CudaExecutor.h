#pragma once
// A plan's programs as launches on a GPU: grids and arguments are made once and never change, since
// what does from step to step stands in the io regions.

#include "runtime/gpu/LoadedKernel.h"
#include "runtime/gpu/Stream.h"
#include "runtime/train/Backend.h"

#include <array>
#include <memory>

namespace lorac::train {

class CudaExecutor {
public:
  /// Address of part `part` of weight `weight`.
  using WeightPart = std::function<gpu::DevicePtr(int weight, int part)>;

  /// Loads the kernels of the payload.
  static Result<CudaExecutor> load(const Plan &plan, const Payload &payload,
                                   std::shared_ptr<const gpu::Context> context);
  /// Makes the launches; before any `run`. The plan's lists of launches and kernels outlive the
  /// executor (where they are moved to). Exit::ForeignFile where a launch and its kernel differ in
  /// the number of arguments.
  Result<void> prepare(const Plan &plan, gpu::DevicePtr arena, const WeightPart &weightPart);

  /// Enqueues the program. With LORAC_CUDA_SYNC=1 each launch is waited for, so that an error names
  /// the one that failed. With `timed` (launchCounts of the plan) the program is waited for, and
  /// each launch is timed by events.
  Result<void> run(Program program, const gpu::Stream &stream, int64_t tokens,
                   std::vector<LaunchCount> *timed = nullptr);

  /// "42 kernels: cubins of sm_90", "…: PTX of sm_80, compiled by the driver".
  std::string kernelsShown() const;

private:
  struct Launch {
    gpu::FunctionHandle function;
    std::vector<uint64_t> values;  ///< of the arguments: pointers, begin, count
    std::vector<void *> arguments; ///< where those stand
    const PlanLaunch *plan;
    const PlanKernel *kernel;
    size_t counter; ///< its place in launchCounts
  };
  Result<void> launch(const Launch &launch, const gpu::Stream &stream) const;
  Result<void> runTimed(Program program, const gpu::Stream &stream, int64_t tokens,
                        std::vector<LaunchCount> &counts);
  std::string shown(const Launch &launch) const;

  std::shared_ptr<const gpu::Context> context;
  std::vector<gpu::LoadedKernel> kernels;
  std::array<std::vector<Launch>, programCount> programs;
  std::vector<gpu::Event> events; ///< as many as the longest program that was timed needs
  bool waitEach = false;
};

} // namespace lorac::train
