#include "runtime/train/CpuDevice.h"

#include "runtime/train/Progress.h"
#include "runtime/train/StateStorage.h"
#include "runtime/train/ranks/Gather.h"
#include "runtime/train/ranks/TripletParams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstring>
#include <utility>

namespace lorac::train {

Result<std::unique_ptr<Device>> CpuDevice::open(const BackendInput &input) {
  const Plan &plan = input.plan;
  LORAC_TRY(checkCpu(plan));
  std::unique_ptr<CpuDevice> device(new CpuDevice(plan, input.pool));
  device->besides = input.besides;
  auto begin = std::chrono::steady_clock::now();
  LORAC_TRY_ASSIGN(device->weights,
                   WeightStore::load(plan, input.modelPath, input.seed, input.pool));
  device->hash = device->weights.hash();
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  LORAC_TRY_ASSIGN(device->arena, Arena::allocate(uint64_t(plan.arenaBytes), "the arena"));
  LORAC_TRY(device->prepare(plan, input.payload));

  input.say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                        input.modelPath.empty() ? "weights drawn from the seed" : input.modelPath,
                        plan.weights.size(), seconds));
  input.say(fmt::format("memory planned: weights {}, arena {}, scratch {} x {}, {} besides; {} in "
                        "all",
                        formatBytes(device->weights.bytes()),
                        formatBytes(uint64_t(plan.arenaBytes)), input.pool.threads(),
                        formatBytes(uint64_t(plan.scratchBytes)), formatBytes(input.besides),
                        formatBytes(device->memory().planned)));
  return std::unique_ptr<Device>(std::move(device));
}

// What is made from a plan and its kernels, over the arena as it lies; the arena's content is left
// alone. On an error the program before goes on.
Result<void> CpuDevice::prepare(const Plan &of, const Payload &payload) {
  if (!payload.has("module.so"))
    return Error{"this program carries no 'module.so'; compile the spec again", Exit::ForeignFile};
  LORAC_TRY_ASSIGN(Module module, Module::load(payload.file("module.so")));
  LORAC_TRY_ASSIGN(Executor made,
                   Executor::create(
                       of, module, arena,
                       [this](int weight, int part) { return weights.part(weight, part); }, pool));
  executor = std::make_unique<Executor>(std::move(made));
  counts = launchCounts(of);
  return {};
}

Result<void> CpuDevice::adopt(const Payload &program, const Plan &next,
                              const std::vector<TripletTensor> *tensors) {
  if (next.arenaBytes > plan.arenaBytes && tensors)
    return Error{"the new program needs more memory than the old one", Exit::Bug};
  const std::vector<PlanRegion> from = plan.trained(), to = next.trained();
  Arena before;
  if (tensors) {
    for (size_t i = 0; i < from.size(); ++i)
      if (to[i].offset > from[i].offset || to[i].bytes() > from[i].bytes() ||
          (i > 0 && to[i].offset < to[i - 1].offset))
        return Error{"the new program's regions do not lie below the old one's", Exit::Bug};
  } else if (Result<Arena> other = Arena::allocate(uint64_t(next.arenaBytes), "the arena"); other) {
    before = std::exchange(arena, std::move(*other));
  } else {
    return other.error();
  }
  std::vector<std::vector<float>> states; // of 8 bits
  if (Result<void> prepared = prepare(next, program); !prepared) {
    if (!tensors)
      arena = std::move(before);
    return prepared;
  }
  if (!tensors)
    return {};
  // States of 8 bits are taken out, since their blocks become others.
  const int64_t count = next.region(RegionKind::Params).count;
  for (const PlanRegion &region : from)
    if (isCode(region.storage)) {
      states.push_back(decodeState(plan, region, view(plan)));
      gatherTriplets(states.back().data(), count, *tensors);
      states.back().resize(size_t(count));
    }
  // Each region is packed where it lies and then moves down: none reaches one that is still to
  // move.
  int64_t end = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    const int64_t endOfRegion = to[i].offset + to[i].bytes();
    const bool moves = to[i].storage == Storage::Floats;
    if (moves)
      gatherTriplets(floats(from[i]), to[i].count, *tensors);
    std::memset(arena.at<std::byte>(end), 0, size_t((moves ? to[i].offset : endOfRegion) - end));
    if (moves)
      std::memmove(floats(to[i]), floats(from[i]), size_t(to[i].bytes()));
    end = endOfRegion;
  }
  auto state = states.begin();
  for (const PlanRegion &region : to)
    if (isCode(region.storage))
      encodeState(next, region, *state++, view(next));
  arena.shrink(uint64_t(next.arenaBytes));
  arena.clearFrom(uint64_t(end));
  return {};
}

Result<void> CpuDevice::feed(const MicroBatch &batch) {
  auto put = [&](int64_t offset, const std::vector<int32_t> &values) {
    std::memcpy(arena.at<int32_t>(offset), values.data(), values.size() * sizeof(int32_t));
  };
  put(plan.io.ids, batch.ids);
  put(plan.io.positions, batch.positions);
  if (plan.hasLoss())
    put(plan.io.labels, batch.targets);
  put(plan.io.segmentStarts, batch.segmentStarts);
  return {};
}

Result<void> CpuDevice::write(int64_t offset, const void *from, int64_t bytes) {
  if (auto *to = arena.at<std::byte>(offset); to != from && bytes > 0)
    std::memmove(to, from, size_t(bytes));
  return {};
}

Result<void> CpuDevice::copy(int64_t to, int64_t from, int64_t bytes) {
  return write(to, arena.at<std::byte>(from), bytes);
}

TrainedFloats CpuDevice::view(const Plan &of) const {
  TrainedFloats trained{floats(of.region(RegionKind::Params)), {}};
  for (const PlanRegion &region : of.trained()) {
    if (region.kind == RegionKind::Params)
      continue;
    if (isCode(region.storage))
      trained.others.push_back({region.name, nullptr, arena.at<uint8_t>(region.offset)});
    else
      trained.others.push_back({region.name, floats(region)});
  }
  return trained;
}

MemoryUse CpuDevice::memory() const {
  const Arena &scratch = executor->scratchMemory();
  const auto persistent = uint64_t(plan.persistentBytes), all = uint64_t(plan.arenaBytes);
  return {
      false,
      besides + weights.bytes() + all + scratch.bytes(),
      peakMemoryBytes(),
      residentMemoryBytes(),
      {{"weights", "frozen weights", {"weights"}, weights.data(), weights.bytes()},
       {"adapters",
        "adapters, gradients, states, inputs",
        {"adapters", "gradients", "optimizer", "importance", "kv_cache", "io"},
        arena.data(),
        persistent},
       {"activations", "activations", {"activations"}, arena.data() + persistent, all - persistent},
       {"scratch", "scratch of the threads", {"scratch"}, scratch.data(), scratch.bytes()}}};
}

} // namespace lorac::train
