#include "runtime/train/CudaDevice.h"

#include "runtime/train/Progress.h"
#include "runtime/train/StateStorage.h"

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

} // namespace

Result<std::unique_ptr<Device>> CudaDevice::open(const BackendInput &input) {
  const Plan &plan = input.plan;
  std::unique_ptr<CudaDevice> device(new CudaDevice(plan));
  Result<std::shared_ptr<const gpu::Context>> context = gpu::Context::open();
  if (!context)
    return Error{"the program was compiled for a GPU: " + context.error().message,
                 context.error().code};
  device->context = *context;
  Clock::time_point begin = Clock::now();
  LORAC_TRY_ASSIGN(CudaExecutor executor, CudaExecutor::load(plan, input.payload, *context));
  input.say(fmt::format("GPU: {}, CUDA {}; {} ({:.1f} s)", (*context)->device().shown(),
                        (*context)->driver().version(), executor.kernelsShown(), since(begin)));

  // Kernels take memory of the GPU too: only now it is known what is left.
  LORAC_TRY(device->checkMemory());
  LORAC_TRY_ASSIGN(device->stream, gpu::Stream::create(*context));
  auto take = [&](uint64_t bytes, const char *what) {
    return gpu::DeviceMemory::allocate(*context, bytes, what);
  };
  LORAC_TRY_ASSIGN(device->arena, take(uint64_t(plan.arenaBytes), "the arena"));
  LORAC_TRY_ASSIGN(gpu::DeviceMemory room,
                   take(uint64_t(plan.weightBytes()), "the frozen weights"));
  begin = Clock::now();
  LORAC_TRY_ASSIGN(device->weights, CudaWeights::load(plan, input.modelPath, input.seed, input.pool,
                                                      std::move(room), device->stream));
  device->hash = device->weights.hash();
  device->mostTaken = device->arena.bytes() + device->weights.bytes();
  LORAC_TRY_ASSIGN(device->current,
                   device->prepare(plan, std::move(executor), device->arena.at(0)));
  device->counts = launchCounts(plan);
  LORAC_TRY(device->zeroTrained(plan));
  input.say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                        input.modelPath.empty() ? "weights drawn from the seed" : input.modelPath,
                        plan.weights.size(), since(begin)));
  input.say(fmt::format("memory of the GPU planned: weights {}, arena {}; {} in all",
                        formatBytes(uint64_t(plan.weightBytes())),
                        formatBytes(uint64_t(plan.arenaBytes)),
                        formatBytes(device->memory().planned)));
  return std::unique_ptr<Device>(std::move(device));
}

CudaDevice::~CudaDevice() {
  // Copies to memory that goes away here end first.
  if (stream.get())
    (void)stream.wait();
}

Result<void> CudaDevice::checkMemory() const {
  LORAC_TRY_ASSIGN(uint64_t free, context->freeMemory());
  const uint64_t needed = memory().planned;
  if (needed <= free)
    return {};
  return Error{fmt::format("the program needs {} of the GPU's memory (weights {}, arena {}) and {} "
                           "has {} free of {}: {} too little; lower train.batch_size or "
                           "train.max_length, or set target.memory, and compile again",
                           formatBytes(needed), formatBytes(uint64_t(plan.weightBytes())),
                           formatBytes(uint64_t(plan.arenaBytes)), context->device().shown(),
                           formatBytes(free), formatBytes(context->device().memory),
                           formatBytes(needed - free)),
               Exit::DoesNotFit};
}

/// Launches and inputs of a program in the arena at `at`; nothing is written there.
Result<CudaDevice::Prepared> CudaDevice::prepare(const Plan &of, CudaExecutor loaded,
                                                 gpu::DevicePtr at) const {
  Prepared made;
  LORAC_TRY(
      loaded.prepare(of, at, [&](int weight, int part) { return weights.part(weight, part); }));
  LORAC_TRY_ASSIGN(made.inputs, CudaInputs::create(of, context, at));
  made.executor = std::move(loaded);
  return made;
}

Result<void> CudaDevice::zeroTrained(const Plan &of) const {
  std::vector<PlanRegion> zeroed = of.trained();
  zeroed.push_back(of.region(RegionKind::Grads));
  Result<void> done;
  for (const PlanRegion &region : zeroed)
    if (done && region.count > 0)
      done = stream.zero(arena.at(region.offset), uint64_t(region.bytes()));
  return done;
}

Result<void> CudaDevice::adopt(const Payload &program, const Plan &next,
                               const std::vector<TripletTensor> *tensors) {
  LORAC_TRY_ASSIGN(CudaExecutor executor, CudaExecutor::load(next, program, context));
  if (tensors) {
    trained.clear();
    for (const PlanRegion &region : plan.trained()) {
      LORAC_TRY_ASSIGN(auto *copy, read(region.offset, region.bytes()));
      trained.emplace_back(copy, copy + region.bytes());
    }
  } else if (Result<void> waited = stream.wait(); !waited) {
    return waited;
  }
  copies.clear();
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
  Result<Prepared> prepared = prepare(next, std::move(executor), arena.at(0));
  if (!prepared)
    return gone(prepared.error());
  current = std::move(*prepared);
  counts = launchCounts(next);
  Result<void> done = zeroTrained(next);
  if (done && tensors) {
    gather(next, *tensors);
    const std::vector<PlanRegion> to = next.trained();
    for (size_t i = 0; i < to.size() && done; ++i)
      done = write(to[i].offset, trained[i].data(), to[i].bytes());
    if (done)
      done = stream.wait();
    trained.clear();
  }
  return done ? done : gone(done.error());
}

// The host's copies, as `next` has them. States of 8 bits are taken out and put in again, since
// their blocks become others.
void CudaDevice::gather(const Plan &next, const std::vector<TripletTensor> &tensors) {
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
    else if (to[i].storage != Storage::One)
      std::fill(trained[i].begin(), trained[i].end(), std::byte(0));
    trained[i].resize(size_t(to[i].bytes()));
  }
  auto state = states.begin();
  for (const PlanRegion &region : to)
    if (isCode(region.storage))
      encodeState(next, region, *state++, view(next));
}

Result<void> CudaDevice::run(Program program, const LoracStep &step) {
  const bool readsStep = program == Program::Train || program == Program::Hidden ||
                         program == Program::Loss || program == Program::Head ||
                         program == Program::Regularize;
  if (readsStep)
    LORAC_TRY(current.inputs.step(step, stream));
  return current.executor.run(program, stream, step.tokens, timed());
}

Result<std::byte *> CudaDevice::read(int64_t offset, int64_t bytes) {
  std::vector<std::byte> &copy = copies[offset];
  copy.resize(size_t(bytes));
  Result<void> done;
  if (bytes > 0)
    done = stream.download(copy.data(), arena.at(offset), uint64_t(bytes));
  if (done)
    done = stream.wait();
  if (!done)
    return done.error();
  return copy.data();
}

// From memory that is not pinned: the driver has copied it when the call returns.
Result<void> CudaDevice::write(int64_t offset, const void *from, int64_t bytes) {
  return bytes > 0 ? stream.upload(arena.at(offset), from, uint64_t(bytes)) : Result<void>();
}

Result<void> CudaDevice::copy(int64_t to, int64_t from, int64_t bytes) {
  return stream.copy(arena.at(to), arena.at(from), uint64_t(bytes));
}

TrainedFloats CudaDevice::view(const Plan &of) {
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

MemoryUse CudaDevice::memory() const {
  const auto planned = uint64_t(plan.weightBytes()) + uint64_t(plan.arenaBytes);
  return {true, planned, mostTaken, arena.bytes() + weights.bytes(), {}};
}

} // namespace lorac::train
