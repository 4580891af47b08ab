#include "runtime/train/CudaBackend.h"

#include "runtime/train/Progress.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

namespace lorac::train {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

} // namespace

Result<std::unique_ptr<Backend>> CudaBackend::open(const BackendInput &input) {
  const Plan &plan = input.plan;
  std::unique_ptr<CudaBackend> backend(new CudaBackend(plan));
  Result<std::shared_ptr<const gpu::Context>> context = gpu::Context::open();
  if (!context)
    return Error{"the program was compiled for a GPU: " + context.error().message,
                 context.error().code};
  backend->context = *context;
  Clock::time_point begin = Clock::now();
  Result<CudaExecutor> executor = CudaExecutor::load(plan, input.payload, *context);
  if (!executor)
    return executor.error();
  backend->executor = std::move(*executor);
  input.say(fmt::format("GPU: {}, CUDA {}; {} ({:.1f} s)", (*context)->device().shown(),
                        (*context)->driver().version(), backend->executor.kernelsShown(),
                        since(begin)));

  // Kernels take memory of the GPU too: only now it is known what is left.
  if (Result<void> fits = backend->checkMemory(); !fits)
    return fits.error();
  Result<gpu::Stream> stream = gpu::Stream::create(*context);
  if (!stream)
    return stream.error();
  backend->stream = std::move(*stream);
  auto take = [&](uint64_t bytes, const char *what) {
    return gpu::DeviceMemory::allocate(*context, bytes, what);
  };
  Result<gpu::DeviceMemory> arena = take(uint64_t(plan.arenaBytes), "the arena");
  if (!arena)
    return arena.error();
  backend->arena = std::move(*arena);
  Result<gpu::DeviceMemory> room = take(uint64_t(plan.weightBytes()), "the frozen weights");
  if (!room)
    return room.error();

  begin = Clock::now();
  Result<CudaWeights> weights = CudaWeights::load(plan, input.modelPath, input.seed, input.pool,
                                                  std::move(*room), backend->stream);
  if (!weights)
    return weights.error();
  backend->weights = std::move(*weights);
  Result<void> prepared =
      backend->executor.prepare(backend->arena.at(0), [&](int weight, int part) {
        return backend->weights.part(weight, part);
      });
  if (!prepared)
    return prepared.error();
  if (Result<void> filled = backend->fillArena(); !filled)
    return filled.error();
  input.say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                        input.modelPath.empty() ? "weights drawn from the seed" : input.modelPath,
                        plan.weights.size(), since(begin)));
  input.say(fmt::format("memory of the GPU planned: weights {}, arena {}; {} in all",
                        formatBytes(uint64_t(plan.weightBytes())),
                        formatBytes(uint64_t(plan.arenaBytes)),
                        formatBytes(backend->memory().planned)));
  return std::unique_ptr<Backend>(std::move(backend));
}

CudaBackend::~CudaBackend() {
  // Copies to memory that goes away here end first.
  if (stream.get())
    (void)stream.wait();
}

Result<void> CudaBackend::checkMemory() const {
  Result<uint64_t> free = context->freeMemory();
  if (!free)
    return free.error();
  const uint64_t needed = memory().planned;
  if (needed <= *free)
    return {};
  return Error{fmt::format("the program needs {} of the GPU's memory (weights {}, arena {}) and {} "
                           "has {} free of {}: {} too little; lower train.batch_size or "
                           "train.max_length, or set target.memory, and compile again",
                           formatBytes(needed), formatBytes(uint64_t(plan.weightBytes())),
                           formatBytes(uint64_t(plan.arenaBytes)), context->device().shown(),
                           formatBytes(*free), formatBytes(context->device().memory),
                           formatBytes(needed - *free)),
               Exit::DoesNotFit};
}

/// What the arena holds before the first step: zero adapters, gradients and moments, rope tables,
/// the optimizer's spans.
Result<void> CudaBackend::fillArena() {
  Result<CudaInputs> made = CudaInputs::create(plan, context, arena.at(0));
  if (!made)
    return made.error();
  inputs = std::move(*made);
  for (auto [memory, bytes] :
       {std::pair{&losses, 4 * plan.maxTokens}, {&scalars, int64_t(sizeof(LoracUpdate))}}) {
    Result<gpu::PinnedMemory> pinned = gpu::PinnedMemory::allocate(context, uint64_t(bytes));
    if (!pinned)
      return pinned.error();
    *memory = std::move(*pinned);
  }
  Result<void> done;
  for (const PlanRegion *region :
       {&plan.paramRegion, &plan.gradRegion, &plan.expAvg, &plan.expAvgSq})
    if (done)
      done = stream.zero(arena.at(region->offset), 4 * uint64_t(region->count));
  const std::vector<PlanSpan> spans = plan.spans();
  if (done)
    done =
        stream.upload(arena.at(plan.io.updateSpans), spans.data(), spans.size() * sizeof(PlanSpan));
  std::vector<std::vector<float>> tables;
  for (const PlanTable &table : plan.tables) {
    std::vector<float> &values = tables.emplace_back(size_t(table.positions * table.dim));
    fillRopeTable(table, values.data());
    if (done)
      done = stream.upload(arena.at(table.offset), values.data(), 4 * values.size());
  }
  if (done)
    done = stream.wait();
  return done;
}

Result<void> CudaBackend::feed(const MicroBatch &batch) { return inputs.feed(batch, stream); }

Result<void> CudaBackend::run(Program program, const LoracStep &step) {
  // The loss divided by the labels of a window has gradients below what f16 holds: each token's
  // loss counts about one there, and the optimizer takes the power of two out again.
  LoracStep scaled = step;
  if (program == Program::Train && plan.compute == "f16") {
    const float raised = std::exp2(-std::floor(std::log2(step.loss_scale)));
    scaled.loss_scale *= raised;
    gradientScale = 1 / raised;
  }
  if (Result<void> copied = inputs.step(scaled, stream); !copied)
    return copied;
  return executor.run(program, stream, step.tokens);
}

Result<const float *> CudaBackend::rowLoss(int64_t tokens) {
  Result<void> done =
      stream.download(losses.at(0), arena.at(plan.io.rowLoss), 4 * uint64_t(tokens));
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return losses.at<const float>(0);
}

Result<const float *> CudaBackend::logits(int64_t begin, const LoracStep &step) {
  const int64_t row = plan.activationBytes() * Plan::leadingDim(plan.hiddenSize);
  Result<void> done = stream.copy(arena.at(plan.io.headIn), arena.at(plan.io.hidden + begin * row),
                                  uint64_t(step.tokens * row));
  if (done)
    done = run(Program::Head, step);
  logitRows.resize(size_t(step.tokens * Plan::leadingDim(plan.vocab)));
  if (done)
    done = stream.download(logitRows.data(), arena.at(plan.io.logits), 4 * logitRows.size());
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return logitRows.data();
}

Result<void> CudaBackend::zeroGrads() {
  return stream.zero(arena.at(plan.gradRegion.offset), 4 * uint64_t(plan.gradRegion.count));
}

Result<float> CudaBackend::gradNorm(LoracUpdate &update) {
  auto *pinned = scalars.at<LoracUpdate>(0);
  *pinned = update;
  pinned->gradient_scale = gradientScale;
  Result<void> done = stream.upload(arena.at(plan.io.update), pinned, sizeof update);
  if (done)
    done = executor.run(Program::Norm, stream, 0);
  if (done)
    done = stream.download(pinned, arena.at(plan.io.update), sizeof update);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  update = *pinned;
  return update.norm;
}

Result<void> CudaBackend::update(const LoracUpdate &) {
  return executor.run(Program::Update, stream, 0);
}

// The compiler refuses AdaLoRA for a GPU, so no plan for one has triplets.
static Error noTriplets() { return {"AdaLoRA trains on the CPU in this version", Exit::Bug}; }
Result<void> CudaBackend::takeImportance(const Importance &, float) { return noTriplets(); }
Result<std::vector<float>> CudaBackend::tripletScores() { return noTriplets(); }
Result<void> CudaBackend::adopt(const Payload &, const Plan &, const TripletSets *) {
  return noTriplets();
}
Result<void> CudaBackend::zeroTriplets(const TripletSets &, const TripletSets &) {
  return noTriplets();
}

Result<void> CudaBackend::download(const PlanRegion &region, std::vector<float> &out) const {
  out.resize(size_t(region.count));
  return stream.download(out.data(), arena.at(region.offset), 4 * uint64_t(region.count));
}
Result<void> CudaBackend::upload(const PlanRegion &region, const std::vector<float> &from) const {
  return stream.upload(arena.at(region.offset), from.data(), 4 * from.size());
}

Result<TrainedFloats> CudaBackend::read() {
  Result<void> done = download(plan.paramRegion, params);
  if (done)
    done = download(plan.expAvg, expAvg);
  if (done)
    done = download(plan.expAvgSq, expAvgSq);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return TrainedFloats{params.data(), expAvg.data(), expAvgSq.data()};
}

Result<void> CudaBackend::write() {
  Result<void> done = upload(plan.paramRegion, params);
  if (done)
    done = upload(plan.expAvg, expAvg);
  if (done)
    done = upload(plan.expAvgSq, expAvgSq);
  return done ? stream.wait() : done;
}

Result<const float *> CudaBackend::grads() {
  Result<void> done = download(plan.gradRegion, gradients);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  for (float &gradient : gradients)
    gradient *= gradientScale;
  return gradients.data();
}

MemoryUse CudaBackend::memory() const {
  const auto planned = uint64_t(plan.weightBytes()) + uint64_t(plan.arenaBytes);
  return {true, planned, arena.bytes() + weights.bytes()};
}

} // namespace lorac::train
