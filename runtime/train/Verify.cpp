#include "runtime/train/Verify.h"

#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Hash.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/RunSurvey.h"

#include <filesystem>
#include <sys/stat.h>
#include <utility>

namespace lorac::train {

namespace {

using formats::FolderManifest;

bool exists(const std::string &path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0;
}

void addCheckpoint(std::vector<VerifiedFile> &files, const std::string &path,
                   const std::string &name, const CheckpointFacts &facts) {
  if (facts.damage)
    return files.push_back({name, facts.damage->message});
  files.push_back({name + "/trainer_state.json", ""});
  for (const auto &[file, hash] : facts.files)
    files.push_back({name + "/" + file, ""});
}

} // namespace

Result<std::vector<VerifiedFile>> verifyFolder(const std::string &folder) {
  if (std::error_code ignored; !std::filesystem::is_directory(folder, ignored))
    return Error{"'" + folder + "' is no folder", Exit::Refused};
  std::vector<VerifiedFile> files;
  if (exists(folder + "/trainer_state.json"))
    if (const CheckpointFacts facts = inspectCheckpoint(folder, false, true);
        facts.kind != CheckpointFacts::Foreign) {
      addCheckpoint(files, folder, ".", facts);
      for (VerifiedFile &file : files)
        if (file.name.starts_with("./"))
          file.name.erase(0, 2);
      return files;
    }
  Result<std::optional<FolderManifest>> read = FolderManifest::read(folder);
  if (!read && read.error().corrupt)
    return read.error();
  FolderManifest manifest;
  if (read && *read)
    manifest = std::move(**read);
  FolderManifest::Hashes all = manifest.replaced;
  for (const auto *table : {&manifest.pending, &manifest.files})
    for (const auto &[name, hash] : *table)
      all[name] = hash;
  for (const auto &[name, hash] : all) {
    const std::string path = folder + "/" + name;
    if (isCheckpointName(name) && exists(path)) // looked at below
      continue;
    if (!exists(path)) {
      // What was about to be written, or to be removed, may be absent.
      if (manifest.files.contains(name) && !manifest.pending.contains(name))
        files.push_back({name, "'" + path + "' is missing"});
      continue;
    }
    if (hash == FolderManifest::grows) {
      files.push_back({name, looksLikeMetrics(path) ? "" : "'" + path + "' holds no metrics"});
      continue;
    }
    Result<std::string> there = formats::hashFile(path);
    if (!there)
      files.push_back({name, there.error().message});
    else if (!manifest.lists(name, *there))
      files.push_back({name, "'" + path + "' has hash " + *there + ", manifest.json says " + hash});
    else
      files.push_back({name, ""});
  }
  bool newest = manifest.replaced.empty(); // else metrics.jsonl may be the older run's yet
  LORAC_TRY_ASSIGN(std::vector<std::string> checkpoints, listCheckpoints(folder));
  for (const std::string &path : checkpoints) {
    const std::string name = path.substr(path.rfind('/') + 1);
    const CheckpointFacts facts = inspectCheckpoint(path, manifest.knows(name), true);
    if (facts.kind == CheckpointFacts::Foreign)
      continue;
    if (!facts.damage && manifest.knows(name) && !manifest.lists(name, facts.hash))
      files.push_back({name, "'" + path + "' is another checkpoint than manifest.json says"});
    else
      addCheckpoint(files, path, name, facts);
    if (facts.damage || !std::exchange(newest, false) || facts.metricsHash.empty())
      continue;
    const std::string metrics = folder + "/metrics.jsonl";
    if (prefixHash(metrics, facts.metricsBytes) != facts.metricsHash)
      files.push_back({"metrics.jsonl", "'" + metrics + "' does not begin with the " +
                                            std::to_string(facts.metricsBytes) + " bytes that '" +
                                            path + "' counts"});
  }
  if (files.empty())
    return Error{"'" + folder +
                     "' has nothing to verify: no manifest.json, no trainer_state.json and no "
                     "checkpoint of lorac's",
                 Exit::Refused};
  return files;
}

} // namespace lorac::train
