#pragma once
// A program on a GPU, through the driver alone: one arena and the packed weights in its memory, one
// stream. What was enqueued is waited for where the host reads: losses, logits, the gradient's
// norm, the adapter.

#include "runtime/train/CudaExecutor.h"
#include "runtime/train/CudaInputs.h"
#include "runtime/train/CudaWeights.h"
#include "runtime/train/Device.h"
#include "runtime/train/TrainedFloats.h"

#include <map>
#include <memory>

namespace lorac::train {

class CudaDevice : public Device {
public:
  /// Memory is checked against the plan and taken before a weight is read.
  static Result<std::unique_ptr<Device>> open(const BackendInput &input);
  ~CudaDevice() override;

  Result<void> feed(const MicroBatch &batch) override { return current.inputs.feed(batch, stream); }
  Result<void> run(Program program, const LoracStep &step) override;
  Result<std::byte *> read(int64_t offset, int64_t bytes) override;
  Result<void> write(int64_t offset, const void *from, int64_t bytes) override;
  Result<void> copy(int64_t to, int64_t from, int64_t bytes) override;
  Result<void> adopt(const Payload &program, const Plan &next,
                     const std::vector<TripletTensor> *tensors) override;
  MemoryUse memory() const override;

private:
  /// What is made from a plan and its kernels, for an arena; another takes its place when ranks
  /// fall.
  struct Prepared {
    CudaExecutor executor;
    CudaInputs inputs;
  };

  explicit CudaDevice(const Plan &plan) : plan(plan) {}
  Result<void> checkMemory() const;
  Result<Prepared> prepare(const Plan &of, CudaExecutor loaded, gpu::DevicePtr at) const;
  /// Zeros in all that is trained and in the gradients.
  Result<void> zeroTrained(const Plan &of) const;
  void gather(const Plan &next, const std::vector<TripletTensor> &tensors);
  /// `trained` as regions of `of`.
  TrainedFloats view(const Plan &of);

  const Plan &plan;
  std::shared_ptr<const gpu::Context> context;
  gpu::Stream stream;
  gpu::DeviceMemory arena;
  uint64_t mostTaken = 0; ///< bytes of the GPU
  CudaWeights weights;
  Prepared current;
  std::map<int64_t, std::vector<std::byte>> copies; ///< what `read` gave, by offset
  std::vector<std::vector<std::byte>> trained;      ///< of Plan::trained(), while ranks fall
};

} // namespace lorac::train
