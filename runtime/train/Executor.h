#pragma once
// Runs a plan's programs: launch after launch, the tiles of each over the thread pool. All pointers
// are resolved once.

#include "runtime/train/Arena.h"
#include "runtime/train/Backend.h"
#include "runtime/train/Module.h"

#include <array>
#include <functional>
#include <string>
#include <vector>

namespace lorac::train {

class Executor {
public:
  /// Address of part `part` of weight `weight`.
  using WeightPart = std::function<const void *(int weight, int part)>;

  /// `plan`, `arena` and `pool` outlive the executor.
  static Result<Executor> create(const Plan &plan, const Module &module, const Arena &arena,
                                 const WeightPart &weightPart, ThreadPool &pool);

  /// With `timed` (launchCounts of the plan) each launch is timed (about 50 ns each).
  void run(Program program, const LoracStep &step, std::vector<LaunchCount> *timed = nullptr);

  /// What its launches take of the heap.
  static uint64_t heapBytes(const Plan &plan);

  const Arena &scratchMemory() const { return scratch; }

private:
  struct Launch {
    LoracKernel kernel;
    std::vector<void *> buffers;
    std::vector<int64_t> scalars;
    PlanTiles tiles;
    int64_t rowBegin, rowCount;
    bool fixedRows;
    bool needsRows; ///< writes nothing without rows: skipped then
    bool evenTiles;
    Length length;
    const PlanLaunch *plan;
    const PlanKernel *planKernel;
    size_t counter = 0; ///< its place in launchCounts
    // of the run that is on
    const Executor *executor = nullptr;
    const LoracStep *step = nullptr;
    int64_t rows = 0;
  };
  static void runTiles(void *launch, int worker, int64_t begin, int64_t end);

  std::array<std::vector<Launch>, programCount> programs;
  std::vector<ThreadPool::Launch> due; ///< of the run that is on
  Arena scratch;
  int64_t scratchStride = 0;
  ThreadPool *pool = nullptr;
  Module module;
};

} // namespace lorac::train
