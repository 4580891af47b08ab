// What a kernel did, counted: instructions, tensor-core work, and traffic of memories.
#ifndef PTXSIM_MACHINE_COUNTERS_H
#define PTXSIM_MACHINE_COUNTERS_H

#include "tests/ptxsim/machine/Access.h"
#include <string>
#include <vector>

namespace ptxsim {

struct TrafficCounters {
  uint64_t warpInstructions = 0, laneInstructions = 0;
  uint64_t mma = 0, ldmatrix = 0;
  uint64_t globalLoads = 0, globalLoadSectors = 0, globalLoadIdeal = 0;
  uint64_t globalStores = 0, globalStoreSectors = 0, globalStoreIdeal = 0;
  uint64_t sharedLoads = 0, sharedLoadWavefronts = 0, sharedLoadIdeal = 0;
  uint64_t sharedStores = 0, sharedStoreWavefronts = 0, sharedStoreIdeal = 0;
  uint64_t copyBytes = 0; // of cp.async

  void add(const TrafficCounters &other);
};

struct LaunchCounters {
  TrafficCounters all, mainLoop;
  std::vector<uint64_t> executed, executedLanes; // by instruction

  void begin(size_t instructions) {
    all = mainLoop = TrafficCounters();
    executed.assign(instructions, 0);
    executedLanes.assign(instructions, 0);
  }
  /// Sums up the instructions.
  void finish(const Kernel &kernel);
};

/// Adds a launch's counts to its kernel's; they are written to PTXSIM_COUNTERS when the process
/// exits.
void addCounters(const Kernel &kernel, LaunchCounters &counters);
void countLaunch(const Kernel &kernel);

// One instruction of a warp; nothing where nobody counts.
void countMma(Warp &warp, const Inst &inst);
void countAccess(Warp &warp, const Inst &inst, const Access &access, bool write);
void countCopy(Warp &warp, const Inst &inst, const Access &source, const Access &destination,
               const uint32_t *sizes);
void countLoadMatrix(Warp &warp, const Inst &inst, const Access &rows);

} // namespace ptxsim

#endif
