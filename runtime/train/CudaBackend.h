#pragma once
// A program on a GPU, through the driver alone: one arena and the packed weights in its memory, one
// stream. What was enqueued is waited for where the host reads: losses, logits, the gradient's
// norm, the adapter.

#include "runtime/train/CudaExecutor.h"
#include "runtime/train/CudaInputs.h"
#include "runtime/train/CudaWeights.h"
#include "runtime/train/ranks/Gather.h"

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
  Result<double> regularize() override;
  Result<float> gradNorm(double maxNorm) override;
  Result<void> update(const std::vector<float> &scalars) override;
  Result<void> takeImportance(const std::vector<float> &scalars) override;
  Result<std::vector<float>> tripletScores() override;
  Result<void> zeroTriplets(const TripletSets &died, const TripletSets &masked) override;
  Result<void> adopt(const Payload &program, const Plan &next, const TripletSets *kept) override;
  Result<TrainedFloats> read() override;
  Result<void> write() override;
  Result<const float *> grads() override;
  Result<void> startProfile() override {
    profiling = true;
    return current.executor.startProfile();
  }
  const std::vector<LaunchCount> &profile() const override { return current.executor.profile(); }
  MemoryUse memory() const override;
  const std::string &weightsHash() const override { return weights.hash(); }

private:
  /// What is made from a plan and its kernels, for an arena; another takes its place when ranks
  /// fall.
  struct Prepared {
    CudaExecutor executor;
    CudaInputs inputs;
    std::vector<TripletLayout> triplets;        ///< AdaLoRA
    gpu::PinnedMemory norm, update, importance; ///< io of these names
  };

  explicit CudaBackend(const Plan &plan) : plan(plan) {}
  Result<void> checkMemory() const;
  Result<Prepared> prepare(const Plan &of, CudaExecutor loaded, gpu::DevicePtr at) const;
  Result<void> fillArena(const Plan &of);
  void gather(const Plan &next, const std::vector<TripletTensor> &tensors);
  Result<void> fold();
  Result<void> unfold();
  Result<void> runTold(Program program, const std::vector<float> &scalars,
                       const gpu::PinnedMemory &pinned, int64_t io);
  Result<void> download(const PlanRegion &region, std::vector<std::byte> &out) const;
  Result<void> upload(const PlanRegion &region, const std::vector<std::byte> &from) const;
  /// `trained` as regions of `of`.
  TrainedFloats view(const Plan &of);

  const Plan &plan;
  std::shared_ptr<const gpu::Context> context;
  gpu::Stream stream;
  gpu::DeviceMemory arena;
  uint64_t mostTaken = 0; ///< bytes of the GPU
  CudaWeights weights;
  Prepared current;
  bool profiling = false;
  gpu::PinnedMemory losses; ///< float [max_tokens]
  float gradientScale = 1;  ///< LoracNorm::gradient_scale of this window
  // AdaLoRA: programs run on B·diag(E) in B's place, everything else on B itself.
  bool isFolded = false, gradsAreFolded = false;
  std::vector<int32_t> tripletStates; ///< as they lie in the arena; empty: never written
  std::vector<float> logitRows;
  std::vector<std::byte> gradients;
  std::vector<std::vector<std::byte>> trained; ///< copies of Plan::trained()
};

} // namespace lorac::train
