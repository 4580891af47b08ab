#include "runtime/train/CpuBackend.h"

#include "runtime/train/Progress.h"

#include <fmt/format.h>

#include <chrono>
#include <cstring>

namespace lorac::train {

Result<std::unique_ptr<Backend>> CpuBackend::open(const BackendInput &input) {
  const Plan &plan = input.plan;
  if (!input.payload.has("module.so"))
    return Error{"this program carries no 'module.so'; compile the spec again", Exit::ForeignFile};
  if (Result<void> cpu = checkCpu(plan); !cpu)
    return cpu.error();
  Result<Module> module = Module::load(input.payload.file("module.so"));
  if (!module)
    return module.error();
  std::unique_ptr<CpuBackend> backend(new CpuBackend(plan, input.pool));

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
  for (const PlanTable &table : plan.tables)
    fillRopeTable(table, backend->arena.at<float>(table.offset));
  Result<Executor> executor = Executor::create(
      plan, *module, backend->arena,
      [self = backend.get()](int weight, int part) { return self->weights.part(weight, part); },
      input.pool);
  if (!executor)
    return executor.error();
  backend->executor = std::make_unique<Executor>(std::move(*executor));

  input.say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                        input.modelPath.empty() ? "weights drawn from the seed" : input.modelPath,
                        plan.weights.size(), seconds));
  input.say(fmt::format("memory planned: weights {}, arena {}, scratch {} x {}; {} in all",
                        formatBytes(backend->weights.bytes()),
                        formatBytes(uint64_t(plan.arenaBytes)), input.pool.threads(),
                        formatBytes(uint64_t(plan.scratchBytes)),
                        formatBytes(backend->memory().planned)));
  return std::unique_ptr<Backend>(std::move(backend));
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
  executor->run(program, step);
  return {};
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
  std::memset(region(plan.gradRegion), 0, size_t(plan.gradRegion.count) * sizeof(float));
  return {};
}

Result<float> CpuBackend::gradNorm(LoracUpdate &update) {
  update.norm = train::gradNorm(pool, region(plan.gradRegion), plan.gradRegion.count);
  update.clip = clipFactor(update.norm, update.max_norm);
  return update.norm;
}

Result<void> CpuBackend::update(const LoracUpdate &update) {
  applyUpdate(pool, groups, update, region(plan.paramRegion), region(plan.gradRegion),
              region(plan.expAvg), region(plan.expAvgSq));
  return {};
}

Result<TrainedFloats> CpuBackend::read() {
  return TrainedFloats{region(plan.paramRegion), region(plan.expAvg), region(plan.expAvgSq)};
}

Result<const float *> CpuBackend::grads() { return region(plan.gradRegion); }

MemoryUse CpuBackend::memory() const {
  return {false,
          weights.bytes() + uint64_t(plan.arenaBytes) +
              uint64_t(plan.scratchBytes) * uint64_t(pool.threads()),
          peakMemoryBytes()};
}

} // namespace lorac::train
