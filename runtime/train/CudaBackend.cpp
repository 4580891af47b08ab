#include "runtime/train/CudaBackend.h"

#include "runtime/train/Progress.h"
#include "runtime/train/StateStorage.h"
#include "runtime/train/ranks/TripletParams.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cmath>

namespace lorac::train {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// The table that the kernels of triplets read.
std::vector<LoracTriplets> tableOf(const std::vector<TripletLayout> &modules) {
  std::vector<LoracTriplets> table;
  int32_t unfolded = 0, first = 0;
  for (const TripletLayout &at : modules) {
    table.push_back({int32_t(at.a), int32_t(at.b), int32_t(at.e), int32_t(at.rank), int32_t(at.in),
                     int32_t(at.out), unfolded, first});
    unfolded += int32_t(at.out * at.rank);
    first += int32_t(at.rank);
  }
  return table;
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
  input.say(fmt::format("GPU: {}, CUDA {}; {} ({:.1f} s)", (*context)->device().shown(),
                        (*context)->driver().version(), executor->kernelsShown(), since(begin)));

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
  Result<gpu::PinnedMemory> losses =
      gpu::PinnedMemory::allocate(*context, 4 * uint64_t(plan.maxTokens));
  if (!losses)
    return losses.error();
  backend->losses = std::move(*losses);

  begin = Clock::now();
  Result<CudaWeights> weights = CudaWeights::load(plan, input.modelPath, input.seed, input.pool,
                                                  std::move(*room), backend->stream);
  if (!weights)
    return weights.error();
  backend->weights = std::move(*weights);
  backend->mostTaken = backend->arena.bytes() + backend->weights.bytes();
  Result<Prepared> prepared = backend->prepare(plan, std::move(*executor), backend->arena.at(0));
  if (!prepared)
    return prepared.error();
  backend->current = std::move(*prepared);
  if (Result<void> filled = backend->fillArena(plan); !filled)
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

/// Launches and inputs of a program in the arena at `at`; nothing is written there.
Result<CudaBackend::Prepared> CudaBackend::prepare(const Plan &of, CudaExecutor loaded,
                                                   gpu::DevicePtr at) const {
  Prepared made;
  if (of.ranks) {
    Result<std::vector<TripletLayout>> layouts = tripletLayouts(of.params, of.ranks->names());
    if (!layouts)
      return layouts.error();
    made.triplets = std::move(*layouts);
  }
  Result<void> prepared =
      loaded.prepare(of, at, [&](int weight, int part) { return weights.part(weight, part); });
  if (!prepared)
    return prepared.error();
  Result<CudaInputs> inputs = CudaInputs::create(of, context, at);
  if (!inputs)
    return inputs.error();
  for (auto [memory, bytes] : {std::pair{&made.norm, int64_t(sizeof(LoracNorm))},
                               {&made.update, 4 * of.updateScalars.floats},
                               {&made.importance, 4 * of.importanceScalars.floats}}) {
    Result<gpu::PinnedMemory> pinned = gpu::PinnedMemory::allocate(context, uint64_t(bytes));
    if (!pinned)
      return pinned.error();
    *memory = std::move(*pinned);
  }
  made.executor = std::move(loaded);
  made.inputs = std::move(*inputs);
  return made;
}

/// What the arena holds before a program's first step: zeros in all that is trained and in the
/// gradients, tables, the spans, where triplets lie.
Result<void> CudaBackend::fillArena(const Plan &of) {
  isFolded = gradsAreFolded = false;
  tripletStates.clear();
  std::vector<PlanRegion> zeroed = of.trained();
  zeroed.push_back(of.region(RegionKind::Grads));
  Result<void> done;
  for (const PlanRegion &region : zeroed)
    if (done && region.count > 0)
      done = stream.zero(arena.at(region.offset), uint64_t(region.bytes()));
  const std::vector<PlanSpan> spans = of.spans();
  if (done)
    done =
        stream.upload(arena.at(of.io.updateSpans), spans.data(), spans.size() * sizeof(PlanSpan));
  const std::vector<LoracTriplets> triplets = tableOf(current.triplets);
  if (done && of.hasTriplets())
    done = stream.upload(arena.at(of.io.triplets), triplets.data(),
                         triplets.size() * sizeof(LoracTriplets));
  const std::vector<std::array<int32_t, 3>> owns = tripletOwns(of, current.triplets);
  if (done && of.hasTriplets() && of.hasCodes())
    done =
        stream.upload(arena.at(of.io.tripletOwns), owns.data(), owns.size() * sizeof(owns.front()));
  std::vector<std::vector<float>> tables;
  for (const PlanTable &table : of.tables) {
    std::vector<float> &values = tables.emplace_back(size_t(table.positions * table.dim));
    fillTable(table, values.data());
    if (done)
      done = stream.upload(arena.at(table.offset), values.data(), 4 * values.size());
  }
  if (done)
    done = stream.wait();
  return done;
}

Result<void> CudaBackend::adopt(const Payload &program, const Plan &next, const TripletSets *kept) {
  Result<CudaExecutor> executor = CudaExecutor::load(next, program, context);
  if (!executor)
    return executor.error();
  std::vector<TripletTensor> tensors;
  if (kept) {
    Result<std::vector<TripletTensor>> matched =
        matchTensors(plan.params, next.params, plan.ranks->names(), *kept);
    if (!matched)
      return matched.error();
    tensors = std::move(*matched);
    if (Result<TrainedFloats> copied = read(); !copied)
      return copied.error();
  } else if (Result<void> waited = stream.wait(); !waited) {
    return waited;
  }
  // All that is needed of the old arena is on the host: it goes before the smaller one comes, so
  // that the peak does not rise.
  arena = {};
  auto gone = [](const Error &error) {
    return Error{error.message + "; the run goes on from its last checkpoint with --resume",
                 Exit::DoesNotFit};
  };
  Result<gpu::DeviceMemory> room =
      gpu::DeviceMemory::allocate(context, uint64_t(next.arenaBytes), "the arena");
  if (!room)
    return gone(room.error());
  arena = std::move(*room);
  mostTaken = std::max(mostTaken, arena.bytes() + weights.bytes());
  Result<Prepared> prepared = prepare(next, std::move(*executor), arena.at(0));
  if (!prepared)
    return gone(prepared.error());
  if (profiling)
    if (Result<void> started = prepared->executor.startProfile(); !started)
      return gone(started.error());
  current = std::move(*prepared);
  Result<void> done = fillArena(next);
  if (done && kept) {
    gather(next, tensors);
    const std::vector<PlanRegion> to = next.trained();
    for (size_t i = 0; i < to.size() && done; ++i)
      done = upload(to[i], trained[i]);
  }
  return done ? stream.wait() : done;
}

// The host's copies, as `next` has them. States of 8 bits are taken out and put in again, since
// their blocks become others.
void CudaBackend::gather(const Plan &next, const std::vector<TripletTensor> &tensors) {
  const int64_t count = next.region(RegionKind::Params).count;
  const std::vector<PlanRegion> from = plan.trained(), to = next.trained();
  std::vector<std::vector<float>> states;
  for (const PlanRegion &region : from)
    if (isCode(region.storage)) {
      states.push_back(decodeState(plan, region, view(plan)));
      gatherTriplets(states.back().data(), count, tensors);
    }
  for (size_t i = 0; i < to.size(); ++i) {
    if (to[i].storage == Storage::Floats)
      gatherTriplets(reinterpret_cast<float *>(trained[i].data()), count, tensors);
    else
      std::fill(trained[i].begin(), trained[i].end(), std::byte(0));
    trained[i].resize(size_t(to[i].bytes()));
  }
  auto state = states.begin();
  for (const PlanRegion &region : to)
    if (isCode(region.storage))
      encodeState(next, region, *state++, view(next));
}

Result<void> CudaBackend::feed(const MicroBatch &batch) {
  return current.inputs.feed(batch, stream);
}

Result<void> CudaBackend::run(Program program, const LoracStep &step) {
  // The loss divided by the labels of a window has gradients below what f16 holds: each token's
  // loss counts about one there, and the optimizer takes the power of two out again.
  LoracStep scaled = step;
  if (program == Program::Train && plan.compute == "f16") {
    const float raised = std::exp2(-std::floor(std::log2(step.loss_scale)));
    scaled.loss_scale *= raised;
    gradientScale = 1 / raised;
  }
  if (Result<void> folded = fold(); !folded)
    return folded;
  gradsAreFolded |= program == Program::Train;
  if (Result<void> copied = current.inputs.step(scaled, stream); !copied)
    return copied;
  return current.executor.run(program, stream, step.tokens);
}

// The update is B·diag(E)·A: as one of LoRA with B·diag(E) for B.
Result<void> CudaBackend::fold() {
  if (current.triplets.empty() || isFolded)
    return {};
  isFolded = true;
  return current.executor.run(Program::Fold, stream, 0);
}

// B is itself again, and of the gradient by B·diag(E) become those by B and E.
Result<void> CudaBackend::unfold() {
  if (current.triplets.empty() || !isFolded)
    return {};
  Result<void> done = current.executor.run(Program::Unfold, stream, 0);
  if (done && gradsAreFolded)
    done = current.executor.run(Program::UnfoldGrads, stream, 0);
  isFolded = gradsAreFolded = false;
  return done;
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
  gradsAreFolded = false;
  return current.executor.run(Program::Begin, stream, 0);
}

Result<double> CudaBackend::regularize() {
  if (current.triplets.empty())
    return 0.0;
  Result<void> done = unfold();
  // The term counts once a step; its gradients are raised as those that they are added to.
  LoracStep once{};
  once.loss_scale = 1 / gradientScale;
  if (done)
    done = current.inputs.step(once, stream);
  if (done)
    done = current.executor.run(Program::Regularize, stream, 0);
  // A module at rank 0 has no factors and counts in the mean.
  const auto have = 2 * std::count_if(current.triplets.begin(), current.triplets.end(),
                                      [](const TripletLayout &at) { return at.rank > 0; });
  std::vector<float> norms(static_cast<size_t>(have));
  if (done)
    done = stream.download(norms.data(), arena.at(plan.io.orthogonality), 4 * norms.size());
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  double sum = 0;
  for (float norm : norms)
    sum += double(norm);
  return sum / double(2 * current.triplets.size());
}

// What lies pinned is free to be written: since the last copy from there the host has waited for
// the gradient's norm.
Result<float> CudaBackend::gradNorm(double maxNorm) {
  if (!plan.optimizer)
    return 0.0f;
  auto *norm = current.norm.at<LoracNorm>(0);
  *norm = {float(maxNorm), gradientScale, 0, 0};
  Result<void> done = unfold();
  if (done)
    done = stream.upload(arena.at(plan.io.norm), norm, sizeof *norm);
  if (done)
    done = current.executor.run(Program::Norm, stream, 0);
  if (done)
    done = stream.download(norm, arena.at(plan.io.norm), sizeof *norm);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return norm->norm;
}

Result<void> CudaBackend::update(const std::vector<float> &scalars) {
  if (!plan.optimizer)
    return {};
  assert(int64_t(scalars.size()) == plan.updateScalars.floats && "of stepScalars");
  return runTold(Program::Update, scalars, current.update, plan.io.update);
}

Result<void> CudaBackend::takeImportance(const std::vector<float> &scalars) {
  if (!plan.optimizer)
    return {};
  assert(int64_t(scalars.size()) == plan.importanceScalars.floats && "of stepScalars");
  return runTold(Program::Importance, scalars, current.importance, plan.io.importance);
}

/// A program over B and E themselves, after its scalars have gone to the device.
Result<void> CudaBackend::runTold(Program program, const std::vector<float> &scalars,
                                  const gpu::PinnedMemory &pinned, int64_t io) {
  std::copy(scalars.begin(), scalars.end(), pinned.at<float>(0));
  Result<void> done = unfold();
  if (done && !scalars.empty())
    done = stream.upload(arena.at(io), pinned.at<float>(0), 4 * scalars.size());
  return done ? current.executor.run(program, stream, 0) : done;
}

Result<std::vector<float>> CudaBackend::tripletScores() {
  std::vector<float> scores(static_cast<size_t>(plan.tripletCount()));
  Result<void> done = current.executor.run(Program::Scores, stream, 0);
  if (done)
    done = stream.download(scores.data(), arena.at(plan.io.tripletScores), 4 * scores.size());
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return scores;
}

Result<void> CudaBackend::zeroTriplets(const TripletSets &died, const TripletSets &masked) {
  std::vector<int32_t> states;
  bool anyFalls = false;
  for (size_t m = 0; m < current.triplets.size(); ++m) {
    const size_t first = states.size();
    states.resize(first + size_t(current.triplets[m].rank), LORAC_TRIPLET_ALIVE);
    for (int32_t place : masked[m])
      states[first + size_t(place)] = LORAC_TRIPLET_MASKED;
    for (int32_t place : died[m])
      states[first + size_t(place)] = LORAC_TRIPLET_DEAD;
    anyFalls |= !masked[m].empty() || !died[m].empty();
  }
  if (!anyFalls)
    return {};
  Result<void> done = unfold();
  if (done && states != tripletStates) {
    tripletStates = std::move(states);
    done = stream.upload(arena.at(plan.io.tripletStates), tripletStates.data(),
                         4 * tripletStates.size());
    if (done) // the vector may change
      done = stream.wait();
  }
  return done ? current.executor.run(Program::ZeroTriplets, stream, 0) : done;
}

Result<void> CudaBackend::download(const PlanRegion &region, std::vector<std::byte> &out) const {
  out.resize(size_t(region.bytes()));
  if (out.empty())
    return {};
  return stream.download(out.data(), arena.at(region.offset), out.size());
}
Result<void> CudaBackend::upload(const PlanRegion &region,
                                 const std::vector<std::byte> &from) const {
  if (from.empty())
    return {};
  return stream.upload(arena.at(region.offset), from.data(), from.size());
}

TrainedFloats CudaBackend::view(const Plan &of) {
  const std::vector<PlanRegion> regions = of.trained();
  auto floats = [&](size_t i) { return reinterpret_cast<float *>(trained[i].data()); };
  TrainedFloats out{floats(0), {}};
  for (size_t i = 1; i < regions.size(); ++i)
    if (isCode(regions[i].storage))
      out.others.push_back(
          {regions[i].name, nullptr, reinterpret_cast<uint8_t *>(trained[i].data())});
    else
      out.others.push_back({regions[i].name, floats(i)});
  return out;
}

Result<TrainedFloats> CudaBackend::read() {
  const std::vector<PlanRegion> regions = plan.trained();
  trained.resize(regions.size());
  Result<void> done = unfold();
  for (size_t i = 0; i < regions.size() && done; ++i)
    done = download(regions[i], trained[i]);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return view(plan);
}

Result<void> CudaBackend::write() {
  const std::vector<PlanRegion> regions = plan.trained();
  Result<void> done;
  for (size_t i = 0; i < regions.size() && done; ++i)
    done = upload(regions[i], trained[i]);
  return done ? stream.wait() : done;
}

Result<const float *> CudaBackend::grads() {
  Result<void> done = unfold();
  if (done)
    done = download(plan.region(RegionKind::Grads), gradients);
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  auto *floats = reinterpret_cast<float *>(gradients.data());
  for (size_t i = 0; i < gradients.size() / sizeof(float); ++i)
    floats[i] *= gradientScale;
  return floats;
}

MemoryUse CudaBackend::memory() const {
  const auto planned = uint64_t(plan.weightBytes()) + uint64_t(plan.arenaBytes);
  return {true, planned, mostTaken, arena.bytes() + weights.bytes()};
}

} // namespace lorac::train
