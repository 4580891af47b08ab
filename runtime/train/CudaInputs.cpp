#include "runtime/train/CudaInputs.h"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace lorac::train {

Result<PinnedSlots> PinnedSlots::create(std::shared_ptr<const gpu::Context> context,
                                        int64_t bytes) {
  PinnedSlots out;
  for (Slot &slot : out.slots) {
    LORAC_TRY_ASSIGN(slot.memory, gpu::PinnedMemory::allocate(context, uint64_t(bytes)));
    LORAC_TRY_ASSIGN(slot.done, gpu::Event::create(context, /*timed=*/false));
  }
  return out;
}

Result<std::byte *> PinnedSlots::next() {
  at = (at + 1) % slots.size();
  Slot &slot = slots[at];
  if (slot.used)
    LORAC_TRY(slot.done.wait());
  return slot.memory.at(0);
}

Result<void> PinnedSlots::copied(const gpu::Stream &stream) {
  slots[at].used = true;
  return stream.mark(slots[at].done);
}

Result<CudaInputs> CudaInputs::create(const Plan &plan, std::shared_ptr<const gpu::Context> context,
                                      gpu::DevicePtr arena) {
  CudaInputs inputs;
  inputs.io = plan.io;
  inputs.arena = arena;
  const int64_t rows = 4 * plan.maxTokens;
  std::vector<Run> regions = {{plan.io.ids, rows, 0},
                              {plan.io.positions, rows, 0},
                              {plan.io.labels, rows, 0},
                              {plan.io.segmentStarts, 4 * (plan.maxSegments + 1), 0},
                              {plan.io.rowEnds, rows, 0}};
  std::sort(regions.begin(), regions.end(),
            [](const Run &a, const Run &b) { return a.offset < b.offset; });
  // Between two that the planner set side by side there is room to the next multiple of 256 alone.
  constexpr int64_t gap = 256;
  int64_t size = 0;
  for (const Run &region : regions) {
    if (!inputs.runs.empty()) {
      Run &run = inputs.runs.back();
      if (region.offset - (run.offset + run.bytes) < gap) {
        const int64_t longer = region.offset + region.bytes - run.offset;
        size += longer - run.bytes;
        run.bytes = longer;
        continue;
      }
    }
    inputs.runs.push_back({region.offset, region.bytes, size});
    size += region.bytes;
  }
  LORAC_TRY_ASSIGN(inputs.images, PinnedSlots::create(context, size));
  LORAC_TRY_ASSIGN(inputs.steps, PinnedSlots::create(context, sizeof(LoracStep)));
  return inputs;
}

void CudaInputs::put(std::byte *image, int64_t offset, const std::vector<int32_t> &values) const {
  for (const Run &run : runs)
    if (offset >= run.offset && offset < run.offset + run.bytes) {
      const int64_t from = offset - run.offset, bytes = 4 * int64_t(values.size());
      assert(from + bytes <= run.bytes && "batches are cut to the plan's limits");
      std::memcpy(image + run.at + from, values.data(), size_t(bytes));
    }
}

Result<void> CudaInputs::feed(const MicroBatch &batch, const gpu::Stream &stream) {
  LORAC_TRY_ASSIGN(auto *image, images.next());
  put(image, io.ids, batch.ids);
  put(image, io.positions, batch.positions);
  put(image, io.labels, batch.targets);
  put(image, io.segmentStarts, batch.segmentStarts);
  put(image, io.rowEnds, rowEnds(batch));
  for (const Run &run : runs)
    LORAC_TRY(stream.upload(arena + uint64_t(run.offset), image + run.at, uint64_t(run.bytes)));
  return images.copied(stream);
}

Result<void> CudaInputs::step(const LoracStep &step, const gpu::Stream &stream) {
  if (std::memcmp(&step, &last, sizeof step) == 0)
    return {};
  LORAC_TRY_ASSIGN(auto *slot, steps.next());
  std::memcpy(slot, &step, sizeof step);
  LORAC_TRY(stream.upload(arena + uint64_t(io.step), slot, sizeof(LoracStep)));
  last = step;
  return steps.copied(stream);
}

std::vector<int32_t> rowEnds(const MicroBatch &batch) {
  std::vector<int32_t> ends(batch.ids.size());
  for (size_t s = 0; s + 1 < batch.segmentStarts.size(); ++s)
    std::fill(ends.begin() + batch.segmentStarts[s], ends.begin() + batch.segmentStarts[s + 1],
              batch.segmentStarts[s + 1]);
  return ends;
}

} // namespace lorac::train
