#pragma once
// A program in this process: arena and packed weights in its memory, kernels of module.so over the
// thread pool.

#include "runtime/train/Backend.h"
#include "runtime/train/Executor.h"
#include "runtime/train/Weights.h"
#include "runtime/train/ranks/Importance.h"

#include <memory>

namespace lorac::train {

class CpuBackend : public Backend {
public:
  static Result<std::unique_ptr<Backend>> open(const BackendInput &input);

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
  Result<void> write() override { return {}; }
  Result<const float *> grads() override;
  Result<void> startProfile() override {
    executor->startProfile();
    profiling = true;
    return {};
  }
  const std::vector<LaunchCount> &profile() const override { return executor->profile(); }
  MemoryUse memory() const override;
  Result<void> commit() override;
  std::vector<MemoryRegion> regions() const override;
  const std::string &weightsHash() const override { return weights.hash(); }

private:
  CpuBackend(const Plan &plan, ThreadPool &pool) : plan(plan), pool(pool) {}
  Result<void> prepare(const Plan &of, const Payload &payload);
  void fillTables(const Plan &of);
  float *floats(const PlanRegion &region) const { return arena.at<float>(region.offset); }
  /// What is trained, where `of` has it in the arena.
  TrainedFloats view(const Plan &of) const;
  void forEachModule(const std::function<void(const TripletLayout &, float *)> &body);
  void fold();
  void unfold();

  const Plan &plan;
  ThreadPool &pool;
  Arena arena;
  WeightStore weights;
  std::unique_ptr<Executor> executor;
  // AdaLoRA: programs run on B·diag(E) in B's place, everything else on B itself.
  std::vector<TripletLayout> triplets;
  bool isFolded = false, gradsAreFolded = false;
  bool profiling = false;
  uint64_t besides = 0;
};

} // namespace lorac::train
