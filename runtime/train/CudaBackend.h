#pragma once
// A program on a GPU, through the driver alone: one arena and the packed weights in its memory, one
// stream. What was enqueued is waited for where the host reads: losses, logits, the gradient's
// norm, the adapter.

#include "runtime/train/CudaExecutor.h"
#include "runtime/train/CudaInputs.h"
#include "runtime/train/CudaWeights.h"

#include <memory>

namespace lorac::train {

class CudaBackend : public Backend {
public:
  /// Memory is checked against the plan and taken before a weight is read.
  static Result<std::unique_ptr<Backend>> open(const BackendInput &input);
  ~CudaBackend() override;

  Result<void> feed(const MicroBatch &batch) override;
  Result<void> run(Program program, const LoracStep &step) override;
  Result<const float *> rowLoss(int64_t tokens) override;
  Result<const float *> logits(int64_t begin, const LoracStep &step) override;
  Result<void> zeroGrads() override;
  Result<float> gradNorm(LoracUpdate &update) override;
  Result<void> update(const LoracUpdate &update) override;
  Result<void> takeImportance(const Importance &importance, float clip) override;
  Result<std::vector<float>> tripletScores() override;
  Result<void> zeroTriplets(const TripletSets &died, const TripletSets &masked) override;
  Result<void> adopt(const Payload &program, const Plan &next, const TripletSets *kept) override;
  Result<TrainedFloats> read() override;
  Result<void> write() override;
  Result<const float *> grads() override;
  Result<void> startProfile() override { return executor.startProfile(); }
  const std::vector<LaunchCount> &profile() const override { return executor.profile(); }
  MemoryUse memory() const override;
  const std::string &weightsHash() const override { return weights.hash(); }

private:
  explicit CudaBackend(const Plan &plan) : plan(plan) {}
  Result<void> checkMemory() const;
  Result<void> fillArena();
  Result<void> download(const PlanRegion &region, std::vector<float> &out) const;
  Result<void> upload(const PlanRegion &region, const std::vector<float> &from) const;

  const Plan &plan;
  std::shared_ptr<const gpu::Context> context;
  gpu::Stream stream;
  gpu::DeviceMemory arena;
  CudaWeights weights;
  CudaExecutor executor;
  CudaInputs inputs;
  gpu::PinnedMemory losses;  ///< float [max_tokens]
  gpu::PinnedMemory scalars; ///< one LoracUpdate
  float gradientScale = 1;   ///< LoracUpdate::gradient_scale of this window
  std::vector<float> logitRows;
  std::vector<float> params, expAvg, expAvgSq, gradients; ///< copies of the regions
};

} // namespace lorac::train
