#pragma once
// AdaLoRA within the training loop: ranks are allocated after updates, smaller programs take over
// between steps, and what is to be told of both is handed back. It knows no files.

#include "runtime/train/Checkpoint.h"
#include "runtime/train/Clock.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/StepFacts.h"
#include "runtime/train/ranks/ProgramSwap.h"
#include "runtime/train/ranks/RankTraining.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

/// What is to be said and written; what is empty is not.
struct RankNews {
  std::string words;     ///< for people
  bool programs = false; ///< RankDirector::programs has changed
  std::optional<MetricsLine> line = std::nullopt;
};

class RankDirector {
public:
  /// Of a run without AdaLoRA it directs nothing. `recompiler` as ProgramSwap's; all outlive it.
  static Result<RankDirector> create(Session &session, Recompiler *recompiler, int64_t total,
                                     const Clock &clock);

  bool isOn() const { return training.has_value(); }
  /// By the modules of a rank pattern.
  const std::vector<std::string> &modules() const { return training->modules(); }

  /// Before the first step.
  RankNews begin() const;
  /// After an update: takes it into the importance, and allocates where that is due.
  Result<RankNews> afterUpdate(const StepFacts &facts);
  /// Between two steps: the program that was asked for takes over where that is due. One that is
  /// refused is news, one that failed when the old one was gone an error. With a signal that came
  /// meanwhile it is left to the resumed run.
  Result<RankNews> takeProgram(int64_t stepsDone);
  /// A program took over and has done no step. Its first step is done in any case: only then is it
  /// known what is resident …
  bool hasNewProgram() const { return isNew; }
  /// … and told.
  RankNews reportProgram();
  /// A held-out loss, measured after so many steps.
  void observe(int64_t stepsDone, double loss);

  /// Of a checkpoint: first the ranks and the program that its tensors are of, then, when it was
  /// found whole, what it knew after so many steps.
  Result<void> resumeProgram(const CheckpointRanks &found);
  Result<void> resumePace(const CheckpointRanks &found, int64_t stepsDone);

  /// For a checkpoint; nothing without AdaLoRA.
  std::optional<CheckpointRanks> state() const;
  /// The triplets that an adapter is made of; nothing without AdaLoRA.
  std::optional<TripletSets> livePlaces() const;
  /// What became of all requests, as JSON; nothing where none is ever made.
  std::optional<std::string> programs() const;

private:
  explicit RankDirector(Session &session) : session(session) {}
  MetricsLine line(int64_t step, const RankPattern &live, const Allocation *made,
                   const ProgramRecord *program) const;

  Session &session;
  std::optional<RankTraining> training;
  std::optional<ProgramSwap> swap; ///< where something may die
  RankPattern lastLive;            ///< as told last
  bool isNew = false;
};

} // namespace lorac::train
