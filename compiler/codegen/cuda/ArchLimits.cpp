// What blocks may use on each architecture.

#include "compiler/codegen/cuda/ArchLimits.h"

#include <algorithm>

using namespace lorac::cuda;

llvm::ArrayRef<ArchLimits> lorac::cuda::allLimits() {
  static const ArchLimits table[] = {
      {"sm_80", 166912, 167936, 2048, 32, 108},  {"sm_86", 101376, 102400, 1536, 16, 84},
      {"sm_89", 101376, 102400, 1536, 24, 128},  {"sm_90", 232448, 233472, 2048, 32, 132},
      {"sm_90a", 232448, 233472, 2048, 32, 132}, {"sm_100", 232448, 233472, 2048, 32, 148},
      {"sm_120", 101376, 102400, 1536, 24, 170},
  };
  return table;
}

const ArchLimits *lorac::cuda::findLimits(llvm::StringRef arch) {
  for (const ArchLimits &limits : allLimits())
    if (limits.arch == arch)
      return &limits;
  return nullptr;
}

int64_t lorac::cuda::residentBlocks(const ArchLimits &limits, int64_t threads,
                                    int64_t registersPerThread, int64_t sharedBytes) {
  auto roundUp = [](int64_t n, int64_t to) { return (n + to - 1) / to * to; };
  int64_t warps = (threads + 31) / 32, perWarp = roundUp(registersPerThread * 32, 256);
  int64_t byWarps = limits.threadsPerMultiprocessor / 32 / warps;
  // Four schedulers hold a quarter of the registers each.
  int64_t byRegisters =
      perWarp == 0 ? byWarps : limits.registersPerMultiprocessor / 4 / perWarp * 4 / warps;
  int64_t byShared = limits.sharedPerMultiprocessor / roundUp(sharedBytes + 1024, 128);
  return std::min({limits.blocksPerMultiprocessor, byWarps, byRegisters, byShared});
}
