#pragma once
// The frozen weights by rows in a GPU's memory: packed one after another in a room as large as the
// largest, and copied.

#include "runtime/gpu/Memory.h"
#include "runtime/gpu/Stream.h"
#include "runtime/train/Weights.h"

namespace lorac::train {

class CudaWeights {
public:
  /// `memory` has plan.weightBytes().
  static Result<CudaWeights> load(const Plan &plan, const std::string &source, uint64_t seed,
                                  ThreadPool &pool, gpu::DeviceMemory memory,
                                  const gpu::Stream &stream);

  gpu::DevicePtr part(int weight, int part) const {
    return memory.at(offsets[size_t(weight)][size_t(part)]);
  }
  uint64_t bytes() const { return memory.bytes(); }
  const std::string &hash() const { return digest; }

private:
  gpu::DeviceMemory memory;
  std::vector<std::vector<int64_t>> offsets;
  std::string digest;
};

} // namespace lorac::train
