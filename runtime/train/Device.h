#pragma once
// Where programs run: memory and launches. It computes nothing by itself: all numbers of a run are
// written by its programs, and what the host decides is put where they read it.

#include "runtime/Result.h"
#include "runtime/abi.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Payload.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ThreadPool.h"
#include "runtime/train/ranks/Gather.h"

#include <cstddef>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

/// Those from Regularize to ZeroTriplets are AdaLoRA's.
enum class Program {
  Train,
  Hidden,
  Loss,
  Head,
  Begin,
  Norm,
  Update,
  Initialize,
  Regularize,
  Importance,
  Fold,
  Unfold,
  UnfoldGrads,
  Scores,
  ZeroTriplets,
  Average,
  Swap
};

/// A program's name and where a plan has its launches.
struct ProgramOfPlan {
  const char *name;
  std::vector<PlanLaunch> Plan::*launches;
};
/// In the order of the enum.
constexpr ProgramOfPlan programsOfPlan[] = {{"train", &Plan::train},
                                            {"hidden", &Plan::hidden},
                                            {"loss", &Plan::loss},
                                            {"head", &Plan::head},
                                            {"begin", &Plan::begin},
                                            {"norm", &Plan::norm},
                                            {"update", &Plan::update},
                                            {"initialize", &Plan::initialize},
                                            {"regularize", &Plan::regularize},
                                            {"importance", &Plan::importance},
                                            {"fold", &Plan::fold},
                                            {"unfold", &Plan::unfold},
                                            {"unfold_grads", &Plan::unfoldGrads},
                                            {"scores", &Plan::scores},
                                            {"zero_triplets", &Plan::zeroTriplets},
                                            {"average", &Plan::average},
                                            {"swap", &Plan::swap}};
constexpr size_t programCount = std::size(programsOfPlan);

/// What one launch of a program cost since profiling began. Plan and kernel are not owned.
struct LaunchCount {
  Program program;
  const PlanLaunch *launch;
  const PlanKernel *kernel;
  int64_t calls = 0;
  double seconds = 0;
  double flops = 0, bytes = 0; ///< of the rows that ran
};

/// One for each launch of a plan, program after program as in programsOfPlan; all are 0.
std::vector<LaunchCount> launchCounts(const Plan &plan);

/// A stretch of the host's memory and the lines of the plan that it is for.
struct MemoryRegion {
  std::string key, words;
  std::vector<std::string> lines;
  std::byte *data = nullptr;
  uint64_t bytes = 0;
};

struct MemoryUse {
  bool ofGpu = false;
  uint64_t planned = 0;              ///< bytes that the plan states
  uint64_t peak = 0;                 ///< at most resident, or taken of the GPU
  uint64_t resident = 0;             ///< now
  std::vector<MemoryRegion> regions; ///< where all that a step touches lies on the host
};

/// What a device is opened with; all but `say` outlives it.
struct BackendInput {
  const Payload &payload;
  const Plan &plan;
  ThreadPool &pool;
  std::string modelPath; ///< "": weights drawn from the seed
  uint64_t seed = 0;
  std::function<void(const std::string &)> say; ///< gets lines for people
  uint64_t besides = 0; ///< bytes that the run is planned to take besides the device's own
};

class Device {
public:
  virtual ~Device() = default;

  /// Puts a micro-batch into the io buffers.
  virtual Result<void> feed(const MicroBatch &batch) = 0;
  /// Runs a program over `step.tokens` rows.
  virtual Result<void> run(Program program, const LoracStep &step) = 0;
  /// Bytes of the arena, as they are behind all that was run; valid until they are read again or
  /// the device adopts a program. On the CPU where they lie, on a GPU a copy.
  virtual Result<std::byte *> read(int64_t offset, int64_t bytes) = 0;
  /// Puts bytes into the arena; what `read` gave may be given back.
  virtual Result<void> write(int64_t offset, const void *from, int64_t bytes) = 0;
  /// From one place of the arena to another, behind all that was run; the two do not overlap.
  virtual Result<void> copy(int64_t to, int64_t from, int64_t bytes) = 0;

  /// Takes over `program`, whose plan is `next`: the same model at other ranks. With `tensors` all
  /// that is trained moves over in place; without it is zero, for a checkpoint to fill in. Weights
  /// stay. On an error nothing has changed; but for Exit::DoesNotFit, with which the old program is
  /// gone too. The caller then moves `next` to where the device's plan is.
  virtual Result<void> adopt(const Payload &program, const Plan &next,
                             const std::vector<TripletTensor> *tensors) = 0;

  virtual MemoryUse memory() const = 0;

  /// From now on each launch is timed; on a GPU each program is waited for.
  void startProfile() { profiling = true; }
  /// Of the launches of the program that was adopted last.
  const std::vector<LaunchCount> &profile() const { return counts; }
  /// XXH3-128 over the packed weights: which model this is, wherever its file lies.
  const std::string &weightsHash() const { return hash; }

protected:
  /// Where `run` counts; null: it is not to time anything.
  std::vector<LaunchCount> *timed() { return profiling ? &counts : nullptr; }

  std::vector<LaunchCount> counts; ///< launchCounts of the program, set when it is taken over
  std::string hash;                ///< set when the device is opened

private:
  bool profiling = false;
};

using DeviceOpener = std::function<Result<std::unique_ptr<Device>>(const BackendInput &)>;
/// The device of the plan's target.
Result<std::unique_ptr<Device>> openDevice(const BackendInput &input);

} // namespace lorac::train
