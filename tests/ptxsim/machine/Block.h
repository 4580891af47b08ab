// A block that runs, the launch that it belongs to, and the worker that runs one block after
// another.
#ifndef PTXSIM_MACHINE_BLOCK_H
#define PTXSIM_MACHINE_BLOCK_H

#include "tests/ptxsim/machine/Counters.h"
#include "tests/ptxsim/machine/DeviceMemory.h"
#include "tests/ptxsim/machine/SharedMemory.h"
#include <random>

namespace ptxsim {

struct Launch {
  const Kernel *kernel = nullptr;
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamicShared = 0;
  std::vector<uint8_t> params;
  uint64_t stamp = 0; // tells this launch from others in the cells of global memory

  uint32_t threads() const { return block[0] * block[1] * block[2]; }
  uint64_t blocks() const { return static_cast<uint64_t>(grid[0]) * grid[1] * grid[2]; }
};

struct Block {
  const Launch *launch = nullptr;
  uint32_t id[3] = {};
  uint32_t number = 0; // of the block in the grid
  SharedMemory shared;
  std::vector<Warp> warps;
  std::vector<ProductIssue> issued[Clocks::maxWarps / 4]; // by warpgroup, all since the begin
  uint32_t arrivedThreads[16] = {};                       // by bar.arrive, at each barrier
  bool aborted = false;                                   // after what no hardware would survive
  bool counting = false;
  uint64_t steps = 0;
  LaunchCounters counters;
  std::vector<Allocation *> allocations; // by instruction: the last one it touched

  Allocation *&lastAllocation(const Inst &inst) { return allocations[inst.index]; }
};

/// Runs blocks; its register files stay from launch to launch.
class Worker {
public:
  void begin(const Launch &launch, uint64_t seed);
  void run(uint64_t blockNumber);
  LaunchCounters &counters() { return block.counters; }

private:
  void beginBlock(uint64_t blockNumber);
  void fillConstants(Warp &warp, bool onlyBlock);
  bool releaseBarriers();
  Warp *pickWarp();

  Block block;
  std::vector<uint8_t> rows;
  std::mt19937_64 random;
  uint64_t seed = 0;
  uint32_t turn = 0;
};

/// Runs a warp until it waits, ends, or has had its share of instructions.
void runWarp(Warp &warp, uint64_t budget);

/// Runs all blocks of a launch.
void runLaunch(Launch &launch);

} // namespace ptxsim

#endif
