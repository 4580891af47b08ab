#include "runtime/train/CpuBackend.h"

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

Result<std::unique_ptr<Backend>> CpuBackend::open(const BackendInput &input) {
  const Plan &plan = input.plan;
  if (Result<void> cpu = checkCpu(plan); !cpu)
    return cpu.error();
  std::unique_ptr<CpuBackend> backend(new CpuBackend(plan, input.pool));
  backend->besides = input.besides;
  auto begin = std::chrono::steady_clock::now();
  Result<WeightStore> weights = WeightStore::load(plan, input.modelPath, input.seed, input.pool);
  if (!weights)
    return weights.error();
  backend->weights = std::move(*weights);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Result<Arena> arena = Arena::allocate(uint64_t(plan.arenaBytes), "the arena");
  if (!arena)
    return arena.error();
  backend->arena = std::move(*arena);
  if (Result<void> prepared = backend->prepare(plan, input.payload); !prepared)
    return prepared.error();
  backend->fillTables(plan);

  input.say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                        input.modelPath.empty() ? "weights drawn from the seed" : input.modelPath,
                        plan.weights.size(), seconds));
  input.say(fmt::format("memory planned: weights {}, arena {}, scratch {} x {}, {} besides; {} in "
                        "all",
                        formatBytes(backend->weights.bytes()),
                        formatBytes(uint64_t(plan.arenaBytes)), input.pool.threads(),
                        formatBytes(uint64_t(plan.scratchBytes)), formatBytes(input.besides),
                        formatBytes(backend->memory().planned)));
  return std::unique_ptr<Backend>(std::move(backend));
}

// What is made from a plan and its kernels, over the arena as it lies; the arena's content is left
// alone. On an error the program before goes on.
Result<void> CpuBackend::prepare(const Plan &of, const Payload &payload) {
  if (!payload.has("module.so"))
    return Error{"this program carries no 'module.so'; compile the spec again", Exit::ForeignFile};
  std::vector<TripletLayout> layouts;
  if (of.ranks) {
    Result<std::vector<TripletLayout>> found = tripletLayouts(of.params, of.ranks->names());
    if (!found)
      return found.error();
    layouts = std::move(*found);
  }
  Result<Module> module = Module::load(payload.file("module.so"));
  if (!module)
    return module.error();
  Result<Executor> made = Executor::create(
      of, *module, arena, [this](int weight, int part) { return weights.part(weight, part); },
      pool);
  if (!made)
    return made.error();
  executor = std::make_unique<Executor>(std::move(*made));
  if (profiling)
    executor->startProfile();
  triplets = std::move(layouts);
  return {};
}

// Rope, maps of 8-bit numbers, and the spans that kernels over elements go over.
void CpuBackend::fillTables(const Plan &of) {
  for (const PlanTable &table : of.tables)
    fillTable(table, arena.at<float>(table.offset));
  const std::vector<PlanSpan> spans = of.spans();
  std::copy(spans.begin(), spans.end(), arena.at<PlanSpan>(of.io.updateSpans));
}

Result<void> CpuBackend::adopt(const Payload &program, const Plan &next, const TripletSets *kept) {
  if (next.arenaBytes > plan.arenaBytes && kept)
    return Error{"the new program needs more memory than the old one", Exit::Bug};
  const std::vector<PlanRegion> from = plan.trained(), to = next.trained();
  std::vector<TripletTensor> tensors;
  Arena before;
  if (kept) {
    Result<std::vector<TripletTensor>> matched =
        matchTensors(plan.params, next.params, plan.ranks->names(), *kept);
    if (!matched)
      return matched.error();
    tensors = std::move(*matched);
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
  if (kept)
    unfold();
  if (Result<void> prepared = prepare(next, program); !prepared) {
    if (!kept)
      arena = std::move(before);
    return prepared;
  }
  if (!kept) {
    isFolded = gradsAreFolded = false;
    fillTables(next);
    return {};
  }
  // States of 8 bits are taken out, since their blocks become others.
  const int64_t count = next.region(RegionKind::Params).count;
  for (const PlanRegion &region : from)
    if (isCode(region.storage)) {
      states.push_back(decodeState(plan, region, view(plan)));
      gatherTriplets(states.back().data(), count, tensors);
      states.back().resize(size_t(count));
    }
  // Each region is packed where it lies and then moves down: none reaches one that is still to
  // move.
  int64_t end = 0;
  for (size_t i = 0; i < from.size(); ++i) {
    const int64_t endOfRegion = to[i].offset + to[i].bytes();
    const bool moves = to[i].storage == Storage::Floats;
    if (moves)
      gatherTriplets(floats(from[i]), to[i].count, tensors);
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
  fillTables(next);
  return {};
}

Result<void> CpuBackend::feed(const MicroBatch &batch) {
  auto put = [&](int64_t offset, const std::vector<int32_t> &values) {
    std::memcpy(arena.at<int32_t>(offset), values.data(), values.size() * sizeof(int32_t));
  };
  put(plan.io.ids, batch.ids);
  put(plan.io.positions, batch.positions);
  put(plan.io.labels, batch.targets);
  put(plan.io.segmentStarts, batch.segmentStarts);
  return {};
}

Result<void> CpuBackend::run(Program program, const LoracStep &step) {
  fold();
  gradsAreFolded |= program == Program::Train;
  executor->run(program, step);
  return {};
}

// Each module once, on any thread: `body(module, where its B is kept)`.
void CpuBackend::forEachModule(const std::function<void(const TripletLayout &, float *)> &body) {
  std::vector<int64_t> offsets;
  int64_t count = 0;
  for (const TripletLayout &at : triplets) {
    offsets.push_back(count);
    count += at.out * at.rank;
  }
  float *kept = floats(plan.region(RegionKind::Unfolded));
  pool.parallelFor(int64_t(triplets.size()), Split::Dynamic, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      body(triplets[size_t(i)], kept + offsets[size_t(i)]);
  });
}

// The update is B·diag(E)·A: as one of LoRA with B·diag(E) for B.
void CpuBackend::fold() {
  if (triplets.empty() || isFolded)
    return;
  float *params = floats(plan.region(RegionKind::Params));
  forEachModule([&](const TripletLayout &at, float *kept) {
    float *b = params + at.b;
    std::memcpy(kept, b, size_t(at.out * at.rank) * sizeof(float));
    for (int64_t row = 0; row < at.out; ++row)
      for (int64_t i = 0; i < at.rank; ++i)
        b[row * at.rank + i] *= params[at.e + i];
  });
  isFolded = true;
}

// B is itself again, and of the gradient by F = B·diag(E) become those by B and E: dB = dF·diag(E),
// dE_i = Σ dF[:, i]·B[:, i], in double and in the order of the rows.
void CpuBackend::unfold() {
  if (triplets.empty() || !isFolded)
    return;
  float *params = floats(plan.region(RegionKind::Params)),
        *grads = floats(plan.region(RegionKind::Grads));
  forEachModule([&](const TripletLayout &at, const float *kept) {
    std::memcpy(params + at.b, kept, size_t(at.out * at.rank) * sizeof(float));
    if (!gradsAreFolded)
      return;
    std::vector<double> sums(size_t(at.rank), 0.0);
    for (int64_t row = 0; row < at.out; ++row)
      for (int64_t i = 0; i < at.rank; ++i) {
        float &g = grads[at.b + row * at.rank + i];
        sums[size_t(i)] += double(g) * double(kept[row * at.rank + i]);
        g *= params[at.e + i];
      }
    for (int64_t i = 0; i < at.rank; ++i)
      grads[at.e + i] = float(sums[size_t(i)]);
  });
  isFolded = gradsAreFolded = false;
}

Result<double> CpuBackend::regularize() {
  if (triplets.empty())
    return 0.0;
  unfold();
  executor->run(Program::Regularize, {});
  // A module at rank 0 has no factors and counts in the mean.
  const size_t all = 2 * triplets.size();
  const float *norms = arena.at<float>(plan.io.orthogonality);
  double sum = 0;
  int64_t have = 2 * std::count_if(triplets.begin(), triplets.end(),
                                   [](const TripletLayout &at) { return at.rank > 0; });
  for (int64_t i = 0; i < have; ++i)
    sum += double(norms[i]);
  return sum / double(all);
}

Result<const float *> CpuBackend::rowLoss(int64_t) { return arena.at<float>(plan.io.rowLoss); }

Result<const float *> CpuBackend::logits(int64_t begin, const LoracStep &step) {
  int64_t ld = Plan::leadingDim(plan.hiddenSize);
  const float *hidden = arena.at<float>(plan.io.hidden) + begin * ld;
  std::memmove(arena.at<float>(plan.io.headIn), hidden, size_t(step.tokens * ld) * sizeof(float));
  executor->run(Program::Head, step);
  return arena.at<float>(plan.io.logits);
}

Result<void> CpuBackend::zeroGrads() {
  gradsAreFolded = false;
  executor->run(Program::Begin, {});
  return {};
}

Result<float> CpuBackend::gradNorm(double maxNorm) {
  if (!plan.optimizer)
    return 0.0f;
  unfold();
  LoracNorm &norm = *arena.at<LoracNorm>(plan.io.norm);
  norm = {float(maxNorm), 1, 0, 0};
  executor->run(Program::Norm, {});
  return norm.norm;
}

Result<void> CpuBackend::update(const std::vector<float> &scalars) {
  if (!plan.optimizer)
    return {};
  assert(int64_t(scalars.size()) == plan.updateScalars.floats && "of stepScalars");
  unfold();
  std::copy(scalars.begin(), scalars.end(), arena.at<float>(plan.io.update));
  executor->run(Program::Update, {});
  return {};
}

Result<void> CpuBackend::takeImportance(const std::vector<float> &scalars) {
  if (!plan.optimizer)
    return {};
  assert(int64_t(scalars.size()) == plan.importanceScalars.floats && "of stepScalars");
  unfold();
  std::copy(scalars.begin(), scalars.end(), arena.at<float>(plan.io.importance));
  executor->run(Program::Importance, {});
  return {};
}

Result<std::vector<float>> CpuBackend::tripletScores() {
  int64_t count = 0;
  for (const TripletLayout &module : triplets)
    count += module.rank;
  std::vector<float> scores(static_cast<size_t>(count));
  scoreTriplets(pool, triplets, floats(plan.region("sensitivity")),
                floats(plan.region("uncertainty")), scores.data());
  return scores;
}

Result<void> CpuBackend::zeroTriplets(const TripletSets &died, const TripletSets &masked) {
  unfold();
  for (const PlanRegion &region : plan.trained())
    if (region.storage == Storage::Floats)
      zeroWhole(floats(region), triplets, died);
  zeroStoredStates(plan, view(plan), triplets, died);
  zeroE(floats(plan.region(RegionKind::Params)), triplets, masked);
  return {};
}

Result<TrainedFloats> CpuBackend::read() {
  unfold();
  return view(plan);
}

TrainedFloats CpuBackend::view(const Plan &of) const {
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

Result<const float *> CpuBackend::grads() {
  unfold();
  return floats(plan.region(RegionKind::Grads));
}

MemoryUse CpuBackend::memory() const {
  return {false,
          besides + weights.bytes() + uint64_t(plan.arenaBytes) + executor->scratchMemory().bytes(),
          peakMemoryBytes(), residentMemoryBytes()};
}

Result<void> CpuBackend::commit() {
  if (Result<void> done = arena.commit(); !done)
    return done;
  return executor->commit();
}

std::vector<MemoryRegion> CpuBackend::regions() const {
  const auto persistent = uint64_t(plan.persistentBytes), all = uint64_t(plan.arenaBytes);
  return {
      {"weights", "frozen weights", {"weights"}, weights.part(0, 0), weights.bytes()},
      {"adapters",
       "adapters, gradients, states, inputs",
       {"adapters", "gradients", "optimizer", "importance", "io"},
       arena.data(),
       persistent},
      {"activations", "activations", {"activations"}, arena.data() + persistent, all - persistent},
      {"scratch",
       "scratch of the threads",
       {"scratch"},
       executor->scratchMemory().data(),
       executor->scratchMemory().bytes()}};
}

} // namespace lorac::train
