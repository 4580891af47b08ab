#pragma once
// A loaded program: plan, and the backend that runs it. Training, evaluation and generation run on
// it.

#include "runtime/Result.h"
#include "runtime/train/Backend.h"
#include "runtime/train/Batches.h"
#include "runtime/train/MemoryPlan.h"
#include "runtime/train/ParamGroups.h"
#include "runtime/train/Payload.h"
#include "runtime/train/RunConfig.h"

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lorac::train {

class Session;

/// What the command line changes; empty or 0: as the spec says.
struct SessionOptions {
  std::string model;
  int threads = 0;
  /// Called when plan, model and threads are known and before anything large is taken: reads the
  /// data, plans the memory and checks its limits.
  std::function<Result<void>(Session &)> prepare = nullptr;
  DeviceOpener device = openDevice;
};

class Session {
public:
  /// `say` gets lines for people. The adapter adds nothing: its factors are zero, DoRA's magnitudes
  /// the norms of the rows of W.
  static Result<std::unique_ptr<Session>> open(const Payload &payload, RunConfig run,
                                               const SessionOptions &options,
                                               const std::function<void(const std::string &)> &say);

  RunConfig run;
  Plan plan;
  std::vector<ParamGroup> groups; ///< of the plan, with the run's ratio
  std::string modelPath;          ///< "": seeded weights
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Backend> backend;
  MemoryPlan memory; ///< of the whole run, where `prepare` planned it

  /// Changes what is trained by `change`; nothing is taken over when it fails.
  Result<void> edit(const std::function<Result<void>(const TrainedFloats &)> &change);

  /// Goes on with another program of this model, compiled for other ranks (Backend::adopt). Error:
  /// it is of another model, or its plan is unfit; the old one goes on then.
  Result<void> adopt(const Payload &program, const TripletSets *kept);

  /// Puts a micro-batch into the io buffers.
  Result<void> feed(const MicroBatch &batch) { return backend->feed(batch); }
  Result<void> execute(Program program, const MicroBatch &batch, float lossScale = 0,
                       int64_t step = 0, int64_t micro = 0);
  /// Losses of the rows of the last program, in double, in order.
  Result<double> sumRowLoss(int64_t tokens);

  /// Logits of the hidden rows [begin, begin + count); those of row i start at i *
  /// Plan::leadingDim(vocab).
  Result<const float *> logits(int64_t begin, int64_t count);
  /// Those of some hidden rows, at most head_rows, one after another.
  Result<const float *> logits(std::span<const int64_t> rows);

private:
  Session() = default;
};

/// Mean loss over `pieces` by the programs `hidden` and `loss`; nothing when a signal asked to stop
/// meanwhile. Error: they have no label.
Result<std::optional<double>> evalLoss(Session &session, const Corpus &corpus,
                                       const std::vector<uint32_t> &pieces);

} // namespace lorac::train
