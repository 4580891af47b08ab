#include "runtime/train/CudaWeights.h"

#include "runtime/formats/RowWeight.h"

#include <algorithm>

namespace lorac::train {

Result<CudaWeights> CudaWeights::load(const Plan &plan, const std::string &source, uint64_t seed,
                                      ThreadPool &pool, gpu::DeviceMemory memory,
                                      const gpu::Stream &stream) {
  LORAC_TRY_ASSIGN(WeightRows from, openWeights(plan, source, seed));
  int64_t largest = 0, offset = 0;
  CudaWeights weights;
  for (const PlanWeight &weight : plan.weights) {
    const int64_t begin = offset;
    std::vector<int64_t> &offsets = weights.offsets.emplace_back();
    for (const PlanPart &part : weight.parts) {
      offsets.push_back(offset);
      offset += plan.partRoom(part.bytes);
    }
    largest = std::max(largest, offset - begin);
  }
  LORAC_TRY_ASSIGN(Arena room, Arena::allocate(uint64_t(largest), "packing a weight"));
  const formats::ComputeType compute = *formats::parseComputeType(plan.compute);
  const formats::ParallelFor parallel = parallelOver(pool);
  std::vector<std::string> hashes;
  for (size_t w = 0; w < plan.weights.size(); ++w) {
    const PlanWeight &weight = plan.weights[w];
    const std::vector<int64_t> &offsets = weights.offsets[w];
    std::vector<void *> parts;
    for (int64_t at : offsets)
      parts.push_back(room.at<void>(at - offsets[0]));
    Result<void> done =
        formats::packRowWeight(*from.rows[w], from.formats[w], compute, parts, parallel);
    if (!done)
      return weightError(source, weight, done.error());
    from.rows[w].reset();
    hashes.push_back(hashWeight(weight, parts));
    for (size_t p = 0; p < parts.size() && done; ++p)
      done = stream.upload(memory.at(offsets[p]), parts[p], uint64_t(weight.parts[p].bytes));
    if (done)
      done = stream.wait(); // the room is filled again
    if (!done)
      return done.error();
  }
  weights.memory = std::move(memory);
  weights.digest = hashModel(hashes);
  return weights;
}

} // namespace lorac::train
