#pragma once
// The output folder: PEFT's layout at its root, checkpoints, metrics, the effective spec and a
// model card.

#include "runtime/Result.h"
#include "runtime/formats/Adapter.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/RunConfig.h"

#include <string>

namespace lorac::train {

/// Whether the folder holds a run (an adapter, metrics or a checkpoint).
bool holdsRun(const std::string &outDir);

/// Refuses a folder that holds a run unless it is to be resumed or overwritten; makes the folder
/// and checks that it can be written to. Nothing is removed here.
Result<void> checkOutput(const std::string &outDir, bool resume, bool overwrite);

/// Holds the folder for this process: a second run in it at the same time is refused. Released when
/// the process ends.
Result<void> lockOutput(const std::string &outDir);

/// Removes what a run that was killed while it wrote left half-done (checkpoint-N.tmp-…).
void removeLeftovers(const std::string &outDir);

/// Removes the files of an earlier run, and only those.
Result<void> removeRun(const std::string &outDir);

struct CardFacts {
  std::string baseModel;
  std::vector<std::string> dataNotes;
  int64_t trainable = 0;
  double seconds = 0;
};

/// adapter_config.json, adapter_model.safetensors, spec.toml and README.md, each durably.
Result<void> writeOutput(const std::string &outDir, const formats::Adapter &adapter,
                         const std::string &specToml, const RunConfig &run,
                         const TrainerState &state, const CardFacts &facts);

} // namespace lorac::train
