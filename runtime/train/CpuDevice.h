#pragma once
// A program in this process: arena and packed weights in its memory, kernels of module.so over the
// thread pool.

#include "runtime/train/Device.h"
#include "runtime/train/Executor.h"
#include "runtime/train/TrainedFloats.h"
#include "runtime/train/Weights.h"

#include <memory>

namespace lorac::train {

class CpuDevice : public Device {
public:
  static Result<std::unique_ptr<Device>> open(const BackendInput &input);

  Result<void> feed(const MicroBatch &batch) override;
  Result<void> run(Program program, const LoracStep &step) override {
    executor->run(program, step, timed());
    return {};
  }
  Result<std::byte *> read(int64_t offset, int64_t) override { return arena.at<std::byte>(offset); }
  Result<void> write(int64_t offset, const void *from, int64_t bytes) override;
  Result<void> copy(int64_t to, int64_t from, int64_t bytes) override;
  Result<void> adopt(const Payload &program, const Plan &next,
                     const std::vector<TripletTensor> *tensors) override;
  MemoryUse memory() const override;

private:
  CpuDevice(const Plan &plan, ThreadPool &pool) : plan(plan), pool(pool) {}
  Result<void> prepare(const Plan &of, const Payload &payload);
  float *floats(const PlanRegion &region) const { return arena.at<float>(region.offset); }
  /// What is trained, where `of` has it in the arena.
  TrainedFloats view(const Plan &of) const;

  const Plan &plan;
  ThreadPool &pool;
  Arena arena;
  WeightStore weights;
  std::unique_ptr<Executor> executor;
  uint64_t besides = 0;
};

} // namespace lorac::train
