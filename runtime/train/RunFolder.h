#pragma once
// The output folder of one run: PEFT's layout at its root, checkpoints, metrics, the effective spec
// and a model card. Whatever is killed or fails at any point, an adapter and a checkpoint that were
// whole stay so until better ones are.

#include "runtime/Result.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/RunSurvey.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace lorac::train {

/// What a checkpoint is made of, beside its state.
struct RunState {
  const Plan &plan;
  const TrainedFloats &trained;
  const formats::Adapter &adapter;
  const RunIdentity &identity;
};

class RunFolder {
public:
  using Warn = std::function<void(const std::string &)>;

  /// Looks at the folder (surveyRun), makes it where it is missing and holds it for this process: a
  /// second run in it at the same time is refused. Nothing in it is touched.
  static Result<RunFolder> open(const std::string &path, RunStart start);
  RunFolder(RunFolder &&) = default;
  RunFolder &operator=(RunFolder &&) = default;
  virtual ~RunFolder() = default;

  const std::string &path() const { return folder; }
  /// What the run may go on from: newest first, not all of them need be whole.
  const std::vector<std::string> &checkpoints() const { return found.checkpoints; }

  /// The run begins, at step 0 or behind a checkpoint that was read. `warn` gets lines for people.
  /// An older run that is to be overwritten stays as it is until `save` has a checkpoint.
  Result<void> begin(const TrainerState &state, const std::string &spec, Warn warn);

  /// A line of metrics. One that cannot be written is said and kept; it ends nothing.
  void write(const MetricsLine &line);
  std::string metricsPath() const;
  /// AdaLoRA: what manifest.json says of the programs, as JSON.
  void notePrograms(std::string programs);

  // What a full or failing disk refuses; tests have one.

  /// Free space on its file system; nothing where it cannot be told.
  virtual std::optional<uint64_t> freeSpace() const;
  /// checkpoint-N, then no more of them than `limit` newest and the one of the least held-out loss
  /// (0: all stay). `state` is completed by what metrics.jsonl holds.
  virtual Result<void> save(const RunState &run, TrainerState &state, int64_t limit);
  /// The adapter with what stands beside it ("README.md": its text), all or nothing: PEFT never
  /// finds new weights with an old configuration.
  virtual Result<void> publish(const formats::Adapter &adapter,
                               const std::map<std::string, std::string> &texts);

  /// Whether the checkpoint of a step is this run's.
  bool hasCheckpoint(int64_t step) const {
    return manifest.files.contains("checkpoint-" + std::to_string(step));
  }
  /// "'out/checkpoint-5' stands", or that none does.
  std::string standing() const;
  bool metricsLackLines() const { return metrics.lacksLines(); }

private:
  RunFolder() = default;
  Result<void> note();
  Result<void> takeOver(StagedCheckpoint &staged);
  void removeOld();
  formats::FolderManifest::Hashes surplus(const TrainerState &state, int64_t limit) const;
  void removeCheckpoint(const std::string &name, const std::string &hash);
  std::string at(const std::string &name) const { return folder + "/" + name; }

  std::string folder;
  RunStart start = RunStart::New;
  RunSurvey found;
  formats::FolderManifest manifest;
  MetricsFile metrics;
  Warn warn;
  std::string newest;     ///< the checkpoint that stands
  bool replacing = false; ///< an older run is there until the first checkpoint
  bool metricsFailed = false;
};

} // namespace lorac::train
