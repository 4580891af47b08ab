#pragma once
// What is in an output folder before a run begins in it: whose files they are, and what there is to
// go on from. Nothing is touched here.

#include "runtime/Result.h"
#include "runtime/formats/FolderManifest.h"

#include <string>
#include <vector>

namespace lorac::train {

enum class RunStart {
  New,      ///< refused where there is a run
  Resume,   ///< goes on from the newest checkpoint that is whole
  Overwrite ///< takes the place of the run that is there
};

struct RunSurvey {
  formats::FolderManifest manifest;         ///< of the run that the folder holds
  std::vector<std::string> checkpoints;     ///< of that run: paths, newest first
  formats::FolderManifest::Hashes present;  ///< all of lorac's that is there, by content
  formats::FolderManifest::Hashes toRemove; ///< of a run whose place was taken by this one
  bool tookPlace = false;                   ///< and was killed before all of it was removed
  bool holdsRun = false;
};

/// metrics.jsonl of a run that will take the place of another one.
constexpr const char *newMetrics = "metrics.new.jsonl";

/// Whether a run writes a file of this name at the root of its folder.
bool isRunFile(const std::string &name);
/// "checkpoint-7", and nothing else of that kind.
bool isCheckpointName(const std::string &name);

/// Refuses, by name, what the run would replace and lorac did not write with this content
/// (Exit::Refused); a folder with a run, unless it is to be resumed or overwritten (Exit::Usage);
/// to go on where there is an adapter and no checkpoint (Exit::Refused) or none that is whole
/// (Exit::ForeignFile). A folder that is not there is an empty one.
Result<RunSurvey> surveyRun(const std::string &folder, RunStart start);

} // namespace lorac::train
