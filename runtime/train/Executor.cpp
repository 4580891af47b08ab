#include "runtime/train/Executor.h"

#include <algorithm>
#include <chrono>

namespace lorac::train {

// Whether a worker's part of a launch takes 100 µs or more, told from what the plan counts: a core
// does 50 to 150 GFLOP/s in products and moves 5 to 10 GB/s in everything else.
static Length lengthOf(const PlanLaunch &launch, int workers) {
  constexpr double flops = 10e6, bytes = 1e6;
  return launch.flops >= flops * workers || launch.bytes >= bytes * workers ? Length::Long
                                                                            : Length::Short;
}

Result<Executor> Executor::create(const Plan &plan, const Module &module, const Arena &arena,
                                  const WeightPart &weightPart, ThreadPool &pool) {
  Executor executor;
  executor.module = module;
  executor.pool = &pool;
  executor.scratchStride = (plan.scratchBytes + 4095) / 4096 * 4096;
  LORAC_TRY_ASSIGN(executor.scratch,
                   Arena::allocate(uint64_t(executor.scratchStride) * uint64_t(pool.threads()),
                                   "kernel scratch"));

  std::vector<LoracKernel> kernels;
  for (const PlanKernel &kernel : plan.kernels) {
    LORAC_TRY_ASSIGN(LoracKernel found, module.kernel(kernel.name));
    kernels.push_back(found);
  }
  size_t counter = 0;
  for (size_t p = 0; p < programCount; ++p) {
    const std::vector<PlanLaunch> &launches = plan.*programsOfPlan[p].launches;
    executor.programs[p].reserve(launches.size());
    for (const PlanLaunch &from : launches) {
      const PlanKernel &kernel = plan.kernels[size_t(from.kernel)];
      Launch launch;
      launch.buffers.reserve(from.args.size());
      launch.kernel = kernels[size_t(from.kernel)];
      for (const PlanArg &arg : from.args)
        launch.buffers.push_back(arg.weight < 0
                                     ? static_cast<void *>(arena.data() + arg.offset)
                                     : const_cast<void *>(weightPart(arg.weight, arg.part)));
      launch.scalars.assign(from.scalars.begin(), from.scalars.end());
      launch.tiles = kernel.tiles;
      launch.rowBegin = from.rowBegin;
      launch.rowCount = from.rowCount;
      launch.fixedRows = from.fixedRows;
      // A sum over no rows is zero and has to be written; everything else writes rows.
      launch.needsRows = kernel.family != "matmul_tn";
      launch.evenTiles = kernel.tiles.space != PlanTiles::Segments;
      launch.length = lengthOf(from, pool.threads());
      launch.plan = &from;
      launch.planKernel = &kernel;
      launch.counter = counter++;
      executor.programs[p].push_back(std::move(launch));
    }
  }
  return executor;
}

uint64_t Executor::heapBytes(const Plan &plan) {
  uint64_t sum = 0;
  auto block = [&](uint64_t bytes) { sum += bytes ? (bytes + 8 + 15) / 16 * 16 : 0; };
  for (const ProgramOfPlan &program : programsOfPlan) {
    const std::vector<PlanLaunch> &launches = plan.*program.launches;
    block(launches.size() * (sizeof(Launch) + sizeof(LaunchCount)));
    for (const PlanLaunch &launch : launches)
      block(launch.args.size() * sizeof(void *)), block(launch.scalars.size() * sizeof(int64_t));
  }
  return sum;
}

void Executor::runTiles(void *of, int worker, int64_t begin, int64_t end) {
  const Launch &launch = *static_cast<const Launch *>(of);
  const Executor &executor = *launch.executor;
  launch.kernel(launch.buffers.data(), launch.step, launch.rows, begin, end,
                executor.scratch.data() + worker * executor.scratchStride, launch.scalars.data());
}

void Executor::run(Program program, const LoracStep &step, std::vector<LaunchCount> *timed) {
  using Clock = std::chrono::steady_clock;
  due.clear();
  for (Launch &launch : programs[int(program)]) {
    int64_t rows = launch.fixedRows
                       ? launch.rowCount
                       : std::clamp<int64_t>(step.tokens - launch.rowBegin, 0, launch.rowCount);
    if (rows == 0 && launch.needsRows)
      continue;
    int64_t tiles = launch.tiles.count;
    if (launch.tiles.space == PlanTiles::Rows)
      tiles = (rows + launch.tiles.tile - 1) / launch.tiles.tile;
    else if (launch.tiles.space == PlanTiles::Segments)
      tiles = step.segments * launch.tiles.count;
    launch.executor = this, launch.step = &step, launch.rows = rows;
    due.push_back({tiles, launch.evenTiles ? Split::Shares : Split::Dynamic, launch.length,
                   runTiles, &launch});
  }
  if (!timed)
    return pool->run(due);
  for (const ThreadPool::Launch &one : due) {
    const Launch &launch = *static_cast<const Launch *>(one.context);
    const Clock::time_point begin = Clock::now();
    pool->run({&one, 1});
    LaunchCount &count = (*timed)[launch.counter];
    count.seconds += std::chrono::duration<double>(Clock::now() - begin).count();
    ++count.calls;
    double share = launch.rowCount > 0 ? double(launch.rows) / double(launch.rowCount) : 1.0;
    count.flops += launch.plan->flops * share;
    count.bytes += launch.plan->bytes * share;
  }
}

} // namespace lorac::train
