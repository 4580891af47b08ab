#pragma once
// checkpoint-N/: everything that a run needs to go on to the same bytes.
//
// - adapter_config.json, adapter_model.safetensors: PEFT's layout, usable as it is
// - optimizer.safetensors: <state>.<parameter> of each of the optimizer's states, U8 where it lies
//   in 8 bits, with <state>_absmax.<parameter> then, <state> where it is one number; where the
//   adapter is an average also param.; of AdaLoRA, whose adapter has the live triplets alone,
//   param., sensitivity., uncertainty.
// - trainer_state.json: step, position in the data, what the run is, hashes of the other files
//
// Random numbers are counter-based, so there is no generator to save. The folder is written aside,
// read back, synced and renamed: a checkpoint is there whole or not at all.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/train/Backend.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Plan.h"
#include "runtime/train/ranks/ProgramSwap.h"
#include "runtime/train/ranks/PruningPace.h"
#include "runtime/train/ranks/RankAllocator.h"

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lorac::train {

/// AdaLoRA's part.
struct CheckpointRanks {
  RankState sets;
  std::optional<PruningPaceState> pace; ///< with a plateau
  ProgramSwapState swap;
};

struct TrainerState {
  int64_t step = 0;    ///< windows done
  int64_t updates = 0; ///< of them, those that changed parameters
  int64_t totalSteps = 0;
  DataPosition position;
  int64_t tokensSeen = 0;
  uint64_t metricsBytes = 0; ///< length of metrics.jsonl
  std::string metricsHash;   ///< of these bytes; "": not told
  double firstLoss = 0, lastLoss = 0;
  std::vector<std::pair<int64_t, double>> evals; ///< step, eval_loss
  std::optional<CheckpointRanks> ranks;          ///< AdaLoRA
};

/// What a run is: a checkpoint of another one is refused.
struct RunIdentity {
  std::string target = "cpu";                            ///< and the compute type of a GPU's
  std::string model;                                     ///< hash of the packed weights
  std::string data;                                      ///< hash of the corpus
  std::vector<std::pair<std::string, std::string>> spec; ///< fingerprint(RunConfig)
  int64_t totalSteps = 0;
  bool stepsMatter = true;                      ///< the schedule depends on the number of steps
  std::map<std::string, std::string> base = {}; ///< ModelIdentity::facts()
};

std::string checkpointPath(const std::string &outDir, int64_t step);

/// Error, unless all that is trained is finite: what is not is never saved. `what` begins it.
Result<void> requireFiniteState(const Plan &plan, const TrainedFloats &trained,
                                const std::string &what);

/// A checkpoint that was written, synced and read back, and has not taken its name.
struct StagedCheckpoint {
  formats::DurableDirectory folder;
  std::string name; ///< checkpoint-N
  std::string hash; ///< as trainer_state.json says it: of all that it holds
};
Result<StagedCheckpoint> stageCheckpoint(const std::string &outDir, const Plan &plan,
                                         const TrainedFloats &trained,
                                         const formats::Adapter &adapter, const TrainerState &state,
                                         const RunIdentity &identity);

/// Checkpoint folders of `outDir`, newest first.
Result<std::vector<std::string>> listCheckpoints(const std::string &outDir);

/// What a folder called checkpoint-N is.
struct CheckpointFacts {
  enum Kind { Whole, Damaged, Foreign };
  Kind kind = Foreign;
  std::string hash;                         ///< as its trainer_state.json says it
  std::map<std::string, std::string> files; ///< and of its files
  uint64_t metricsBytes = 0;                ///< of metrics.jsonl, and their hash
  std::string metricsHash;                  ///< "": not told
  std::optional<Error> damage;              ///< names the file
  std::string stranger;                     ///< a file in it that no checkpoint has; "": none
};
/// `listed`: a manifest has it, so that one without a readable trainer_state.json is damaged and
/// not somebody else's. `deep`: the hashes of all files are looked at.
CheckpointFacts inspectCheckpoint(const std::string &folder, bool listed, bool deep);

/// The ranks of a checkpoint, by which the program is known that its tensors fit; nothing without
/// AdaLoRA. Exit::ForeignFile for what is corrupt (Error::corrupt).
Result<std::optional<CheckpointRanks>> readCheckpointRanks(const std::string &folder);

/// Reads a checkpoint into `trained`. Errors: Exit::ForeignFile for what is corrupt
/// (Error::corrupt) or has other tensors, Exit::Refused for another run (each key that differs,
/// with both values). `trained` is written only when all is well.
Result<TrainerState> readCheckpoint(const std::string &folder, const Plan &plan,
                                    const TrainedFloats &trained, const RunIdentity &identity);

} // namespace lorac::train
