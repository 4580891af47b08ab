#pragma once
// The state of the training loop.

#include "runtime/train/AdapterState.h"
#include "runtime/train/CheckpointRanks.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/ParamGroups.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Trainer.h"
#include "runtime/train/ranks/ProgramSwap.h"
#include "runtime/train/ranks/RankTraining.h"

#include <chrono>
#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

inline double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// One run from its first step to its last. The steps are in Trainer.cpp, what is written in
/// LoopSaving.cpp, AdaLoRA's ranks and programs in LoopRanks.cpp.
class Loop {
public:
  Loop(Session &session, const Corpus &corpus, RunFolder &folder, const TrainOptions &options,
       Progress &progress)
      : session(session), run(session.run), corpus(corpus), folder(folder), options(options),
        progress(progress), stream(corpus, {run.batchSize, run.maxLength, session.plan.maxSegments,
                                            run.accumulation, run.packing, run.seed}),
        groups(makeGroups(session.plan, run.loraPlusRatio)) {}

  Result<TrainOutcome> go() {
    if (Result<void> ready = prepare(); !ready)
      return ready.error();
    const size_t evaluated = state.evals.size();
    if (Result<void> done = evaluate(); !done)
      return done.error();
    if (savedStep == state.step && state.evals.size() != evaluated) // its run was stopped before
      if (Result<void> saved = trySave(true); !saved)
        return saved.error();
    progress.begin(state.step, total);
    while (state.step < total && !stopSignal()) {
      if (swap && swap->isDue(state.step))
        if (Result<void> done = swapProgram(); !done)
          return done.error();
      if (stopSignal() && !isNewProgram) // one that took over is reported after a step
        break;
      Result<bool> stepped = step();
      if (!stepped)
        return stepped.error();
      if (!*stepped)
        break;
      if (Result<void> done = evaluate(); !done)
        return done.error();
      bool last = state.step == total;
      bool stopped = stopSignal() != 0;
      if (last || stopped || (run.saveSteps > 0 && state.step % run.saveSteps == 0))
        if (Result<void> saved = trySave(!last && !stopped); !saved)
          return saved.error();
    }
    progress.finish();
    return finish();
  }

private:
  Result<void> prepare();
  Result<void> resume();
  Result<void> resumeProgram(const std::string &folder);
  /// False: a signal came between its micro-batches, and the state is that before the step.
  Result<bool> step();
  /// Where one is due and not done yet.
  Result<void> evaluate();
  Result<void> allocateRanks(int64_t index, double rate);
  Result<void> swapProgram();
  Result<void> reportProgram();
  void writeRanks(int64_t step, const RankPattern &live, const Allocation *made,
                  const ProgramRecord *program);
  void notePrograms();
  /// The picture of the ranks over time, from the metrics, which a resumed run goes on with.
  std::optional<std::string> rankPicture();
  /// The triplets that an adapter is made of; null without AdaLoRA.
  const TripletSets *live() {
    if (ranks)
      livePlaces = ranks->allocator().livePlaces();
    return ranks ? &livePlaces : nullptr;
  }
  CheckpointRanks rankState() const;
  /// Error: what may not be saved, never what cannot be written.
  Result<void> checkState();
  Result<void> save();
  /// A checkpoint, or words why there is none; `goesOn`: another one will be tried.
  Result<void> trySave(bool goesOn);
  Result<void> publish();
  /// Checkpoint and adapter, waited for while they cannot be written.
  Result<void> saveLast(bool isDone);
  /// Regions whose floats a checkpoint has, that of the adapter among them.
  uint64_t savedRegions() const { return session.plan.trained().size() + (ranks ? 1 : 0); }
  uint64_t adapterBytes() const;
  uint64_t checkpointBytes() const;
  Result<void> checkSpace();
  Result<TrainOutcome> finish();
  void write(const MetricsLine &line);
  Result<std::optional<double>> windowLoss(const std::vector<MicroBatch> &window, int64_t labels);

  Session &session;
  const RunConfig &run;
  const Corpus &corpus;
  RunFolder &folder;
  const TrainOptions &options;
  Progress &progress;
  BatchStream stream;
  std::vector<ParamGroup> groups;
  Schedule schedule;
  RunIdentity identity;
  TrainerState state;
  std::optional<RankTraining> ranks; ///< AdaLoRA
  std::optional<ProgramSwap> swap;   ///< and where something may die
  TripletSets livePlaces;
  RankPattern lastLive;
  bool isNewProgram = false;
  bool evalStopped = false; ///< the evaluation that was due is left to the resumed run
  int64_t zeroNorms = 0;    ///< steps in a row whose gradient was exactly 0
  MetricsFile extraMetrics;
  bool extraFailed = false;
  int64_t total = 0, savedStep = -1;
  std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
  double stepSeconds = 0;
  int64_t stepTokens = 0;
};

} // namespace lorac::train
