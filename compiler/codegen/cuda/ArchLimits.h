#pragma once
// What blocks may use on each architecture (CUDA C++ Programming Guide, "Compute Capabilities").

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

#include <cstdint>

namespace lorac::cuda {

struct ArchLimits {
  llvm::StringRef arch;
  int64_t sharedPerBlock; ///< bytes, with the opt-in
  int64_t sharedPerMultiprocessor;
  int64_t threadsPerMultiprocessor;
  int64_t blocksPerMultiprocessor;
  int64_t multiprocessors; ///< of the largest common device
  int64_t registersPerMultiprocessor = 65536;
};

llvm::ArrayRef<ArchLimits> allLimits();
/// Null for an architecture that is not in the table.
const ArchLimits *findLimits(llvm::StringRef arch);

/// Blocks that are resident on one multiprocessor at a time; registers are dealt out to warps in
/// units of 256, shared memory in units of 128 bytes with 1 KiB of the driver's own a block
/// (cuda_occupancy.h).
int64_t residentBlocks(const ArchLimits &limits, int64_t threads, int64_t registersPerThread,
                       int64_t sharedBytes);

} // namespace lorac::cuda
