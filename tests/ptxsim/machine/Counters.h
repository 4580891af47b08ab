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

/// Sectors or wavefronts, and as few as would carry the same bytes.
struct Traffic {
  uint64_t requests = 0, actual = 0, ideal = 0;

  void add(const Traffic &other) {
    requests += other.requests;
    actual += other.actual;
    ideal += other.ideal;
  }
};

/// Of one instruction; a copy has both.
struct PlaceTraffic {
  Traffic global, shared;
};

struct LaunchCounters {
  TrafficCounters all, mainLoop;
  // By instruction.
  std::vector<uint64_t> executed, executedLanes;
  std::vector<PlaceTraffic> places;

  void begin(size_t instructions) {
    all = mainLoop = TrafficCounters();
    executed.assign(instructions, 0);
    executedLanes.assign(instructions, 0);
    places.assign(instructions, PlaceTraffic());
  }
  /// Sums up the instructions.
  void finish(const Kernel &kernel);
};

/// Adds a launch's counts to its kernel's; they are written to PTXSIM_COUNTERS when the process
/// exits.
void addCounters(const Kernel &kernel, LaunchCounters &counters);
void countLaunch(const Kernel &kernel);
/// What a kernel of this name has done so far.
TrafficCounters countersOf(const std::string &kernel);

// One instruction of a warp; nothing where nobody counts.
void countMma(Warp &warp, const Inst &inst);
/// A warp's part of a wgmma, as so many of m16n8k16.
void countWarpgroupMma(Warp &warp, const Inst &inst, uint32_t products);
void countAccess(Warp &warp, const Inst &inst, const Access &access, bool write);
void countCopy(Warp &warp, const Inst &inst, const Access &source, const Access &destination,
               const uint32_t *sizes);
void countLoadMatrix(Warp &warp, const Inst &inst, const Access &rows);

} // namespace ptxsim

#endif
