#pragma once
// What a run leaves in its folder: checkpoints to go on from, metrics, the adapter at the end; and
// how long it waits where there is no room for them.

#include "runtime/train/Trainer.h"
#include "runtime/train/ranks/RankDirector.h"

#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

class RunKeeper {
public:
  /// `total`: steps of the run. All outlive it.
  RunKeeper(const TrainInput &run, RankDirector &ranks, int64_t total);

  /// Takes the newest checkpoint that is whole into session and ranks; nothing where there is none.
  /// One of another run is an error, not passed over.
  Result<std::optional<TrainerState>> resume();
  /// The run begins at `state`. Error: there is no room for what it would keep.
  Result<void> begin(const TrainerState &state);

  /// A line of metrics. One that cannot be written is said and kept; it ends nothing.
  void write(const MetricsLine &line);
  /// What became of AdaLoRA's programs, for the manifest.
  void notePrograms();

  bool isSaved(int64_t step) const { return savedStep == step; }
  /// A checkpoint, or words why there is none; `goesOn`: another one will be tried. Error: what may
  /// not be saved, never what cannot be written.
  Result<void> trySave(TrainerState &state, bool goesOn);
  /// Checkpoint and, where the run is done, adapter; waited for while they cannot be written.
  Result<void> saveLast(TrainerState &state, bool isDone);
  /// Whether `state` has the least held-out loss so far of those that count: before the first
  /// update there is nothing to keep.
  static bool isBest(const TrainerState &state);
  /// The step whose adapter saveLast has published.
  int64_t publishedStep() const { return publishedOf; }
  /// Says which metrics lack lines for good.
  void finish();

  const std::string &path() const { return folder.path(); }
  /// Which checkpoint stands, in words.
  std::string standing() const { return folder.standing(); }

private:
  Result<TrainerState> read(const std::string &checkpoint);
  Result<void> checkFits(const std::string &checkpoint, const TrainerState &found) const;
  Result<void> checkSpace(int64_t step);
  Result<void> checkState(const TrainerState &state);
  Result<void> save(TrainerState &state);
  Result<void> publish(const TrainerState &state);
  void takeBest(const TrainerState &state);
  formats::Adapter adapter(const TrainedFloats &trained) const;
  std::optional<std::string> rankPicture();
  /// Regions whose floats a checkpoint has, that of the adapter among them.
  uint64_t savedRegions() const { return session.plan.trained().size() + (ranks.isOn() ? 1 : 0); }
  uint64_t adapterBytes() const;
  uint64_t checkpointBytes() const;

  Session &session;
  const RunConfig &run;
  const Corpus &corpus;
  RunFolder &folder;
  const TrainOptions &options;
  RankDirector &ranks;
  Progress &progress;
  Clock &clock;
  int64_t total;
  RunIdentity identity;
  MetricsFile extraMetrics;
  bool extraFailed = false;
  int64_t savedStep = -1, publishedOf = -1;
  double begun; ///< by the clock
};

} // namespace lorac::train
