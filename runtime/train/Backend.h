#pragma once
// Where a program runs: its memory, its launches, its optimizer. The CPU's is the oracle; a GPU's
// does the same with copies between.

#include "runtime/Result.h"
#include "runtime/abi.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Payload.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ThreadPool.h"
#include "runtime/train/ranks/Importance.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <functional>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

/// The last five are a GPU's for AdaLoRA; on the CPU the backend does what they do.
enum class Program {
  Train,
  Hidden,
  Loss,
  Head,
  Begin,
  Norm,
  Update,
  Regularize,
  Importance,
  Initialize,
  Fold,
  Unfold,
  UnfoldGrads,
  Scores,
  ZeroTriplets
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
                                            {"regularize", &Plan::regularize},
                                            {"importance", &Plan::importance},
                                            {"initialize", &Plan::initialize},
                                            {"fold", &Plan::fold},
                                            {"unfold", &Plan::unfold},
                                            {"unfold_grads", &Plan::unfoldGrads},
                                            {"scores", &Plan::scores},
                                            {"zero_triplets", &Plan::zeroTriplets}};
constexpr size_t programCount = std::size(programsOfPlan);

/// What one launch of a program cost since profiling began.
struct LaunchCount {
  Program program;
  const PlanLaunch *launch;
  const PlanKernel *kernel;
  int64_t calls = 0;
  double seconds = 0;
  double flops = 0, bytes = 0; ///< of the rows that ran
};

/// What a run has trained, in the host's memory, each as long as the plan's region.
struct TrainedFloats {
  struct Region {
    std::string name;
    float *floats;
    uint8_t *codes = nullptr; ///< in place of floats
  };
  float *params = nullptr;
  std::vector<Region> others; ///< those of Plan::trained() behind the params, in its order

  /// Null: none of `others` has this name.
  float *find(std::string_view name) const {
    for (const Region &region : others)
      if (region.name == name)
        return region.floats;
    return nullptr;
  }
  uint8_t *findCodes(std::string_view name) const {
    for (const Region &region : others)
      if (region.name == name)
        return region.codes;
    return nullptr;
  }
};

struct MemoryUse {
  bool ofGpu = false;
  uint64_t planned = 0;  ///< bytes that the plan states
  uint64_t peak = 0;     ///< at most resident, or taken of the GPU
  uint64_t resident = 0; ///< now
};

/// A stretch of the host's memory and the lines of the plan that it is for.
struct MemoryRegion {
  std::string key, words;
  std::vector<std::string> lines;
  const void *data = nullptr;
  uint64_t bytes = 0;
};

/// What a backend is opened with; all but `say` outlives it.
struct BackendInput {
  const Payload &payload;
  const Plan &plan;
  ThreadPool &pool;
  std::string modelPath; ///< "": weights drawn from the seed
  uint64_t seed = 0;
  std::function<void(const std::string &)> say; ///< gets lines for people
  uint64_t besides = 0; ///< bytes that the run is planned to take besides the backend's own
};

class Backend {
public:
  virtual ~Backend() = default;

  /// Puts a micro-batch into the io buffers.
  virtual Result<void> feed(const MicroBatch &batch) = 0;
  virtual Result<void> run(Program program, const LoracStep &step) = 0;
  /// Losses of the rows of the last program; valid until the next call of anything.
  virtual Result<const float *> rowLoss(int64_t tokens) = 0;
  /// Copies hidden rows [begin, begin + step.tokens) to head_in and runs `head`; the logits of row
  /// i start at i * Plan::leadingDim(vocab). Valid until the next call of anything.
  virtual Result<const float *> logits(int64_t begin, const LoracStep &step) = 0;

  virtual Result<void> zeroGrads() = 0;
  /// AdaLoRA, once a step: adds the gradients of the orthogonality term and answers the mean of
  /// its norms; 0 elsewhere.
  virtual Result<double> regularize() { return 0.0; }
  /// The gradient's norm. It and the clipping factor, by `maxNorm` (0: no clipping), lie where the
  /// program `update` reads them.
  virtual Result<float> gradNorm(double maxNorm) = 0;
  /// Runs the program `update`, after gradNorm; `scalars` are those that the plan has of it.
  virtual Result<void> update(const std::vector<float> &scalars) = 0;

  // AdaLoRA, after the update of a step. Where triplets lie: tripletLayouts of the plan.

  /// Takes the step into the importance averages; gradients count as the update clipped them.
  /// `scalars` are those that the plan has of the program `importance`.
  virtual Result<void> takeImportance(const std::vector<float> &scalars) = 0;
  /// Scores of all stored triplets: modules in order, triplets in the order in which they are
  /// stored.
  virtual Result<std::vector<float>> tripletScores() = 0;
  /// Zeroes what died in all that is trained, and E of what is masked.
  virtual Result<void> zeroTriplets(const TripletSets &died, const TripletSets &masked) = 0;

  /// Takes over `program`, whose plan is `next`: the same model at other ranks. With `kept` (places
  /// of the triplets that stay, by module) all that is trained moves over in place;
  /// without it they are zero, for a checkpoint to fill in. Weights stay. On an error nothing has
  /// changed; but for Exit::DoesNotFit, with which the old program is gone too. The caller then
  /// moves `next` to where `plan` is.
  virtual Result<void> adopt(const Payload &program, const Plan &next, const TripletSets *kept) = 0;

  /// What is trained, as it is now; valid until the next call of anything but `write`.
  virtual Result<TrainedFloats> read() = 0;
  /// Takes over what was changed in what `read` gave.
  virtual Result<void> write() = 0;
  /// The gradients as they are now.
  virtual Result<const float *> grads() = 0;

  /// From now on each launch is timed.
  virtual Result<void> startProfile() = 0;
  virtual const std::vector<LaunchCount> &profile() const = 0;
  virtual MemoryUse memory() const = 0;
  /// Makes all that a step touches resident, so that the first step takes nothing more.
  virtual Result<void> commit() { return {}; }
  /// Where its memory lies on the host.
  virtual std::vector<MemoryRegion> regions() const { return {}; }
  /// XXH3-128 over the packed weights: which model this is, wherever its file lies.
  virtual const std::string &weightsHash() const = 0;
};

} // namespace lorac::train
