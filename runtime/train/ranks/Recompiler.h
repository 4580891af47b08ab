#pragma once
// Who makes the program for other ranks: in production a child `lorac` at low priority, while the
// old program goes on.

#include "runtime/Result.h"
#include "runtime/train/Payload.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace lorac::train {

/// Rank of each adapted module.
using NamedRanks = std::vector<std::pair<std::string, int64_t>>;

struct BuiltProgram {
  Payload program;  ///< plan.json and the kernels
  std::string path; ///< where it is kept; to be removed where it turns out to be another one
  int kernelsBuilt = 0, kernelsFromCache = 0;
  bool fromCache = false; ///< the whole program was there
  double seconds = 0;     ///< that the build took
};

/// A build under way; destroying it stops it.
class ProgramBuild {
public:
  virtual ~ProgramBuild() = default;
  /// Whether it has ended; waits up to `patience` for that.
  virtual bool ended(std::chrono::milliseconds patience) = 0;
  /// Once, of a build that has ended.
  virtual Result<BuiltProgram> take() = 0;
};

class Recompiler {
public:
  virtual ~Recompiler() = default;
  virtual std::unique_ptr<ProgramBuild> start(const NamedRanks &ranks) = 0;
};

/// What one build may take; a child that takes more is stopped.
struct BuildLimits {
  std::chrono::seconds patience;
  uint64_t memory; ///< bytes of address space
};
/// For programs of the model that `plan` and `payload` are of.
BuildLimits buildLimits(const Plan &plan, const Payload &payload);

/// A child `lorac`: the one named (--lorac), $LORAC, the one beside this executable, or the first
/// on PATH. Error: none, one that makes programs of another ABI, or one that another user could
/// have put there. `payload` is this executable's. Programs are kept in the cache folder, the 64
/// used last.
Result<std::unique_ptr<Recompiler>>
childRecompiler(const std::string &named, const Payload &payload, const BuildLimits &limits);

} // namespace lorac::train
