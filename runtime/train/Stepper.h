#pragma once
// One optimizer step: forward and backward over a window of micro-batches, the gradient's norm, the
// update. It knows no files and says nothing.

#include "runtime/Result.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Schedule.h"
#include "runtime/train/Session.h"
#include "runtime/train/StepFacts.h"

#include <optional>
#include <vector>

namespace lorac::train {

class Stepper {
public:
  /// Both outlive it.
  Stepper(Session &session, const Corpus &corpus);

  /// Steps of the whole run.
  int64_t total() const { return schedule.totalSteps; }
  /// Error: no window of the run has a label.
  Result<void> requireLabels() const { return train::requireLabels(stream, total()); }
  /// Goes on behind the windows that a checkpoint counts.
  void seek(const DataPosition &position) { stream.seek(position); }
  /// Epochs seen, with the part of the present one.
  double epochs() const { return stream.epochs(); }

  /// The next window. It counts in `state`, unless it is not finite. Nothing, where a signal came
  /// between two micro-batches and not `mustEnd`: `state` and what is trained are as before.
  Result<std::optional<StepFacts>> step(TrainerState &state, bool mustEnd);

private:
  Result<std::optional<double>> windowLoss(const std::vector<MicroBatch> &window, int64_t labels,
                                           int64_t step, bool mustEnd);

  Session &session;
  const RunConfig &run;
  BatchStream stream;
  Schedule schedule;
  int64_t zeroNorms = 0;
};

} // namespace lorac::train
