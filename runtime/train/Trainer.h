#pragma once
// The training loop.

#include "runtime/Result.h"
#include "runtime/train/Clock.h"
#include "runtime/train/Progress.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Session.h"
#include "runtime/train/ranks/Recompiler.h"

#include <string>

namespace lorac::train {

struct TrainOptions {
  bool resume = false;
  std::string metricsFile;   ///< besides the output folder's metrics.jsonl; "": none
  std::string profileFile;   ///< table of kernels as JSON; "": none
  std::string resumeCommand; ///< told to a user who stopped the run
  std::string specToml;
  Recompiler *recompiler = nullptr; ///< AdaLoRA; null: programs stay as they are
};

/// What a run is made of; all of it outlives the run.
struct TrainInput {
  Session &session;
  const Corpus &corpus;
  RunFolder &folder;
  const TrainOptions &options;
  Progress &progress;
  Clock &clock;
};

struct TrainOutcome {
  int64_t step = 0;
  int signal = 0; ///< that stopped it; 0: done
};

/// Trains until the spec's steps are done or a signal asks to stop, and leaves adapter,
/// checkpoints, metrics and card in the output folder. The loss of a step is Σ token losses /
/// labels over its window, before the update; a window without labels is skipped. A loss, gradient
/// or parameter that is not finite ends the run; nothing of that step is saved. A checkpoint that
/// cannot be written ends nothing: the next one is tried, and the last is waited for.
///
/// metrics.jsonl: `step` counts updates from 1 as in transformers, so the line of step s has the
/// loss before update s; `eval_loss` of step s is that after s updates (0: before the first).
Result<TrainOutcome> train(const TrainInput &run);

} // namespace lorac::train
