#include "runtime/train/RunSurvey.h"

#include "runtime/formats/Hash.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <sys/stat.h>

namespace lorac::train {

namespace {

using formats::FolderManifest;
using Hashes = FolderManifest::Hashes;

constexpr const char *runFiles[] = {"adapter_model.safetensors",
                                    "adapter_config.json",
                                    "metrics.jsonl",
                                    newMetrics,
                                    "README.md",
                                    "spec.toml",
                                    FolderManifest::fileName,
                                    "ranks.svg"};

/// What cannot be looked at may be there, and is no plain file.
bool exists(const std::string &path, bool plain = false) {
  struct stat status;
  if (lstat(path.c_str(), &status) != 0)
    return !plain && errno != ENOENT && errno != ENOTDIR;
  return !plain || S_ISREG(status.st_mode);
}

struct Seen {
  std::string name, path;
  CheckpointFacts facts;
};

bool has(const Hashes &hashes, const std::string &name, const std::string &hash) {
  auto at = hashes.find(name);
  return at != hashes.end() && at->second == hash;
}

class Surveyor {
public:
  Surveyor(const std::string &folder, RunStart start) : folder(folder), start(start) {}

  Result<RunSurvey> survey() {
    Result<std::optional<FolderManifest>> read = FolderManifest::read(folder);
    if (!read)
      return untouched(read.error());
    hasManifest = read->has_value();
    if (hasManifest)
      found.manifest = std::move(**read);
    if (const std::string file = modelFile(); !file.empty())
      return Error{"output folder '" + folder + "' holds a model ('" + file +
                       "'): an adapter beside it would be taken for part of it; name another "
                       "folder with --out",
                   Exit::Refused};
    if (found.manifest.knows("train") || found.manifest.knows("generate"))
      return Error{"output folder '" + folder +
                       "' is where a program is compiled to; name another folder with --out",
                   Exit::Usage};
    Result<std::vector<std::string>> checkpoints = listCheckpoints(folder);
    if (!checkpoints)
      return untouched(checkpoints.error());
    for (const std::string &path : *checkpoints) {
      const std::string name = path.substr(path.rfind('/') + 1);
      seen.push_back({name, path, inspectCheckpoint(path, found.manifest.knows(name), false)});
      hasWhole |= seen.back().facts.kind == CheckpointFacts::Whole;
    }
    lookAtFiles();
    for (const Seen &checkpoint : seen) {
      if (checkpoint.facts.kind == CheckpointFacts::Foreign)
        foreign.push_back(checkpoint.name);
      if (checkpoint.facts.kind != CheckpointFacts::Whole)
        continue;
      // One that was brought from elsewhere can be gone on from, but is not this run's to remove.
      if (!hasManifest || found.manifest.lists(checkpoint.name, checkpoint.facts.hash))
        found.present[checkpoint.name] = checkpoint.facts.hash;
      else if (start == RunStart::Overwrite)
        foreign.push_back(checkpoint.name);
    }
    const bool holdsMore = !found.present.empty() || !seen.empty();
    found.holdsRun = holdsMore;
    if (!foreign.empty() || !changed.empty())
      return notOurs();
    if (start == RunStart::New && found.holdsRun)
      return Error{"output folder '" + folder +
                       "' holds a run; --resume goes on with it, --overwrite starts anew, --out "
                       "names another folder",
                   Exit::Usage};
    settle();
    if (start == RunStart::Overwrite)
      LORAC_TRY(checkReplaceable());
    if (start == RunStart::Resume)
      LORAC_TRY(checkResumable());
    return std::move(found);
  }

private:
  static Error untouched(Error error) {
    error.message += ": nothing was touched; move it away, or name another folder with --out";
    return error;
  }

  /// Beside a model an adapter would be taken for part of it.
  std::string modelFile() const {
    for (const char *name : {"config.json", "model.safetensors", "model.safetensors.index.json"})
      if (exists(folder + "/" + name))
        return name;
    return "";
  }

  void lookAtFiles() {
    for (const std::string name : runFiles) {
      const std::string path = folder + "/" + name;
      if (name == FolderManifest::fileName || !exists(path))
        continue;
      if (name == "metrics.jsonl" || name == newMetrics) {
        (isOurMetrics(name, path) ? found.present[name] = FolderManifest::grows
                                  : foreign.emplace_back(name));
        continue;
      }
      Result<std::string> hash = exists(path, true) ? formats::hashFile(path) : Error{"no file"};
      if (hash &&
          (found.manifest.lists(name, *hash) || (!hasManifest && inCheckpoint(name, *hash))))
        found.present[name] = *hash;
      else
        (found.manifest.knows(name) ? changed : foreign).push_back(name);
    }
  }

  /// Metrics that the manifest knows, or that stand beside lorac's checkpoints: a run of a version
  /// without a manifest, or (newMetrics) one that is taking its place. An empty file is nobody's.
  bool isOurMetrics(const std::string &name, const std::string &path) const {
    struct stat status;
    if (lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0)
      return true;
    const bool known = name == newMetrics
                           ? hasManifest || hasWhole
                           : found.manifest.knows(name) || (!hasManifest && hasWhole);
    return known && looksLikeMetrics(path);
  }

  /// A run of a version without a manifest: its adapter is that of a checkpoint.
  bool inCheckpoint(const std::string &name, const std::string &hash) const {
    return std::any_of(seen.begin(), seen.end(), [&](const Seen &checkpoint) {
      return has(checkpoint.facts.files, name, hash);
    });
  }

  Error notOurs() const {
    const auto listed = [](const std::vector<std::string> &names) {
      std::string text;
      for (const std::string &name : names)
        text += (text.empty() ? "'" : ", '") + name + "'";
      return text;
    };
    std::string text = fmt::format("output folder '{}' holds ", folder);
    if (!foreign.empty())
      text += listed(foreign) + ", which lorac did not write";
    if (!foreign.empty() && !hasManifest && hasWhole)
      text += " or which no manifest.json lists, as in runs of an earlier version";
    if (!changed.empty())
      text += (foreign.empty() ? "" : ", and ") + listed(changed) +
              ", not as lorac wrote it: damaged, or changed since";
    return untouched({text, Exit::Refused});
  }

  /// A run that took an older one's place was killed meanwhile: either has its checkpoint.
  void settle() {
    FolderManifest &manifest = found.manifest;
    Hashes old = std::move(manifest.replaced);
    manifest.replaced.clear();
    const auto ofThisRun = [&](const Seen &checkpoint) {
      return has(manifest.files, checkpoint.name, checkpoint.facts.hash) ||
             has(manifest.pending, checkpoint.name, checkpoint.facts.hash);
    };
    if (!old.empty() && std::none_of(seen.begin(), seen.end(), ofThisRun)) {
      manifest.files = std::move(old);
      manifest.pending.clear();
      old.clear();
    }
    found.tookPlace = !old.empty();
    for (const Seen &checkpoint : seen)
      if (!has(old, checkpoint.name, checkpoint.facts.hash) || ofThisRun(checkpoint))
        found.checkpoints.push_back(checkpoint.path);
    for (const auto &[name, hash] : old)
      if (has(found.present, name, hash) && !has(manifest.files, name, hash) &&
          !has(manifest.pending, name, hash))
        found.toRemove[name] = hash;
    // What took its name before the process ended is there for good; the rest never was.
    for (const auto &[name, hash] : manifest.pending)
      if (has(found.present, name, hash))
        manifest.files[name] = hash;
    manifest.pending.clear();
  }

  Result<void> checkReplaceable() {
    for (const Seen &checkpoint : seen) {
      const CheckpointFacts facts = inspectCheckpoint(checkpoint.path, true, true);
      if (facts.damage)
        return untouched({facts.damage->message + ", so that it is not replaced", Exit::Refused});
      if (!facts.stranger.empty())
        return untouched({fmt::format("output folder '{}' holds '{}/{}', which lorac did not write",
                                      folder, checkpoint.name, facts.stranger),
                          Exit::Refused});
    }
    return {};
  }

  Result<void> checkResumable() {
    std::string damage;
    for (const std::string &path : found.checkpoints) {
      const CheckpointFacts facts = inspectCheckpoint(path, true, true);
      if (!facts.damage)
        return {};
      damage += (damage.empty() ? "" : "; ") + facts.damage->message;
    }
    if (!damage.empty())
      return Error{damage +
                       ": there is no other to go on from; nothing was touched; put a copy back, "
                       "or move it away",
                   Exit::ForeignFile, true};
    if (exists(folder + "/adapter_model.safetensors"))
      return Error{
          fmt::format("output folder '{}' holds a finished adapter and no checkpoint to go "
                      "on from: nothing was touched; adapter.init_from begins with an "
                      "adapter, --overwrite starts anew, --out names another folder",
                      folder),
          Exit::Refused};
    return {};
  }

  const std::string &folder;
  RunStart start;
  RunSurvey found;
  bool hasManifest = false, hasWhole = false;
  std::vector<Seen> seen;
  std::vector<std::string> foreign, changed;
};

} // namespace

bool isRunFile(const std::string &name) {
  return std::find(std::begin(runFiles), std::end(runFiles), name) != std::end(runFiles);
}

bool isCheckpointName(const std::string &name) {
  constexpr std::string_view prefix = "checkpoint-";
  return name.starts_with(prefix) && name.size() > prefix.size() && name.size() <= 30 &&
         name.find_first_not_of("0123456789", prefix.size()) == std::string::npos;
}

Result<RunSurvey> surveyRun(const std::string &folder, RunStart start) {
  return Surveyor(folder, start).survey();
}

} // namespace lorac::train
