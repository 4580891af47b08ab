#include "runtime/train/RunFolder.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Hash.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

namespace lorac::train {

namespace {

namespace fs = std::filesystem;

using formats::FolderManifest;

/// What cannot be looked at may be there.
bool exists(const std::string &path) {
  struct stat status;
  return lstat(path.c_str(), &status) == 0 || (errno != ENOENT && errno != ENOTDIR);
}

/// Left open on purpose: the lock lives as long as the process.
Result<void> lockFolder(const std::string &path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor >= 0 && flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return Error{"another run writes to the output folder '" + path +
                     "'; --out names another folder",
                 Exit::Usage};
  return {};
}

Result<void> rename(const std::string &from, const std::string &to) {
  if (std::rename(from.c_str(), to.c_str()) != 0)
    return Error{"cannot write '" + to + "': " + std::strerror(errno)};
  return {};
}

int64_t stepOf(const std::string &checkpoint) {
  return std::strtoll(checkpoint.c_str() + std::strlen("checkpoint-"), nullptr, 10);
}

} // namespace

std::optional<uint64_t> RunFolder::freeSpace() const {
  struct statvfs info;
  if (statvfs(folder.c_str(), &info) != 0 || info.f_blocks == 0)
    return std::nullopt;
  return uint64_t(info.f_bavail) * info.f_frsize;
}

Result<RunFolder> RunFolder::open(const std::string &path, RunStart start) {
  RunFolder run;
  run.folder = path;
  run.start = start;
  std::error_code error;
  if (fs::is_directory(path, error))
    LORAC_TRY(lockFolder(path));
  LORAC_TRY_ASSIGN(run.found, surveyRun(path, start));
  if (!fs::is_directory(path, error)) {
    if (Result<void> made = formats::makeFolder(path); !made)
      return Error{"cannot make the output folder '" + path + "': " + made.error().message};
    LORAC_TRY(lockFolder(path));
  }
  if (access(path.c_str(), W_OK | X_OK) != 0)
    return Error{"cannot write to the output folder '" + path + "': " + std::strerror(errno)};
  return run;
}

Result<void> RunFolder::note() { return manifest.write(folder); }

std::string RunFolder::metricsPath() const { return at(replacing ? newMetrics : "metrics.jsonl"); }

Result<void> RunFolder::begin(const TrainerState &state, const std::string &spec, Warn warnTo) {
  warn = std::move(warnTo);
  formats::removeLeftovers(
      folder,
      [](const std::string &name) {
        return isRunFile(name) || isCheckpointName(name) || name == "final";
      },
      /*alone=*/true);
  replacing = start == RunStart::Overwrite && found.holdsRun;
  if (replacing) {
    LORAC_TRY_ASSIGN(metrics, MetricsFile::open(at(newMetrics), 0));
    manifest.spec = spec;
    return {};
  }
  manifest = found.manifest;
  manifest.spec = spec;
  for (const auto &[name, hash] : found.present)
    if (!found.toRemove.contains(name) && name != newMetrics)
      manifest.files[name] = hash;
  // A run that was to be replaced goes on, or one that took its place: the other's metrics go.
  if (found.tookPlace) {
    if (exists(at(newMetrics)))
      LORAC_TRY(rename(at(newMetrics), at("metrics.jsonl")));
    removeOld();
  } else {
    ::unlink(at(newMetrics).c_str());
  }
  manifest.files["metrics.jsonl"] = FolderManifest::grows;
  // Of another place, or removed by hand: what is not there is not ours any more.
  std::erase_if(manifest.files, [&](const auto &file) { return !exists(at(file.first)); });
  manifest.files["metrics.jsonl"] = FolderManifest::grows;
  bool lost = false;
  LORAC_TRY_ASSIGN(metrics, MetricsFile::goOn(at("metrics.jsonl"), state.metricsBytes,
                                              state.metricsHash, state.step, lost));
  if (lost)
    warn(fmt::format("'{}' does not hold the lines that the checkpoint of step {} counts: "
                     "it goes on behind the {} bytes of whole lines that are there",
                     at("metrics.jsonl"), state.step, metrics.bytes()));
  if (state.step > 0)
    newest = at("checkpoint-" + std::to_string(state.step));
  return note();
}

void RunFolder::write(const MetricsLine &line) {
  Result<void> written = metrics.write(line);
  if (!written && !metricsFailed)
    warn(written.error().message + "; the run goes on, and the lines are written when they can be");
  metricsFailed = !written;
}

void RunFolder::notePrograms(std::string programs) {
  manifest.programs = std::move(programs);
  // One that cannot be written now is written with the next checkpoint.
  if (!replacing)
    (void)note();
}

/// From here on the folder is this run's: its checkpoint takes its name, then the old run goes.
Result<void> RunFolder::takeOver(StagedCheckpoint &staged) {
  FolderManifest next = manifest;
  next.files = {{"metrics.jsonl", FolderManifest::grows}};
  next.pending = {{staged.name, staged.hash}};
  next.replaced = found.present;
  next.replaced.erase(newMetrics);
  LORAC_TRY(next.write(folder));
  LORAC_TRY(staged.folder.commit());
  manifest = std::move(next);
  manifest.files[staged.name] = staged.hash;
  manifest.pending.clear();
  found.toRemove = manifest.replaced;
  found.toRemove.erase(staged.name);
  replacing = false;
  newest = at(staged.name);
  if (Result<void> moved = rename(at(newMetrics), at("metrics.jsonl")); !moved)
    warn(moved.error().message);
  removeOld();
  return note();
}

/// What an older run left.
void RunFolder::removeOld() {
  found.toRemove.erase("metrics.jsonl");
  for (const auto &[name, hash] : found.toRemove)
    if (isCheckpointName(name))
      removeCheckpoint(name, hash);
    else if (Result<std::string> there = formats::hashFile(at(name)); there && *there == hash)
      ::unlink(at(name).c_str());
    else if (exists(at(name)))
      warn("'" + at(name) + "' stays as it is: it was changed while the run went on");
  (void)formats::syncFolder(folder);
  found.toRemove.clear();
  manifest.replaced.clear();
}

/// In one step out of sight, then removed; one that holds something else stays, and that is said.
void RunFolder::removeCheckpoint(const std::string &name, const std::string &hash) {
  const CheckpointFacts facts = inspectCheckpoint(at(name), true, true);
  if (!facts.stranger.empty() || facts.damage || facts.hash != hash) {
    if (exists(at(name)))
      warn(fmt::format("'{}' stays: it holds what lorac did not write", at(name)));
    return;
  }
  const std::string aside = fmt::format("{}.tmp-{}-0", at(name), ::getpid());
  if (!rename(at(name), aside))
    return;
  std::error_code ignored;
  fs::remove_all(aside, ignored);
}

/// Checkpoints beyond the newest so many and the one of the least held-out loss.
FolderManifest::Hashes RunFolder::surplus(const TrainerState &state, int64_t limit) const {
  std::vector<std::pair<int64_t, std::string>> all;
  for (const auto &[name, hash] : manifest.files)
    if (isCheckpointName(name) && stepOf(name) <= state.step) // later ones were damaged
      all.emplace_back(stepOf(name), name);
  std::sort(all.rbegin(), all.rend());
  int64_t best = -1;
  double least = INFINITY;
  for (const auto &[step, name] : all)
    for (const auto &[at, loss] : state.evals)
      if (at == step && loss <= least) { // of equal ones the first
        least = loss;
        best = step;
      }
  FolderManifest::Hashes out;
  for (size_t i = size_t(std::max<int64_t>(1, limit)); i < all.size(); ++i)
    if (all[i].first != best)
      out[all[i].second] = manifest.files.at(all[i].second);
  return out;
}

Result<void> RunFolder::save(const RunState &run, TrainerState &state, int64_t limit) {
  // A power cut takes no line that the checkpoint counts.
  if (Result<void> synced = metrics.sync(); !synced && !metricsFailed) {
    warn(synced.error().message);
    metricsFailed = true;
  }
  state.metricsBytes = metrics.bytes();
  state.metricsHash = metrics.hash();
  LORAC_TRY_ASSIGN(StagedCheckpoint staged, stageCheckpoint(folder, run.plan, run.trained,
                                                            run.adapter, state, run.identity));
  if (replacing)
    return takeOver(staged);
  // One of this step that is there was damaged, or was made by the same steps.
  if (exists(at(staged.name)))
    if (const CheckpointFacts facts = inspectCheckpoint(at(staged.name), true, false);
        !facts.stranger.empty() || facts.kind == CheckpointFacts::Foreign)
      return Error{fmt::format("'{}' is there and holds what lorac did not write; move it away",
                               at(staged.name)),
                   Exit::Refused};
  manifest.pending[staged.name] = staged.hash;
  FolderManifest::Hashes old;
  if (limit > 0) {
    FolderManifest after = manifest;
    manifest.files[staged.name] = staged.hash;
    old = surplus(state, limit);
    manifest.files = std::move(after.files);
    for (const auto &[name, hash] : old)
      manifest.files.erase(name);
  }
  Result<void> named = note();
  if (named)
    named = staged.folder.commit();
  if (!named) {
    manifest.pending.erase(staged.name);
    for (const auto &[name, hash] : old)
      manifest.files[name] = hash;
    // It may have its name although the folder cannot be synced: it stands, but not for sure.
    if (inspectCheckpoint(at(staged.name), true, false).hash == staged.hash) {
      manifest.files[staged.name] = staged.hash;
      newest = at(staged.name);
    }
    return named;
  }
  manifest.pending.erase(staged.name);
  manifest.files[staged.name] = staged.hash;
  newest = at(staged.name);
  for (const auto &[name, hash] : old)
    removeCheckpoint(name, hash);
  return {};
}

Result<void> RunFolder::publish(const formats::Adapter &adapter,
                                const std::map<std::string, std::string> &texts) {
  constexpr const char *weights = "adapter_model.safetensors", *config = "adapter_config.json";
  LORAC_TRY_ASSIGN(auto staged, formats::DurableDirectory::create(at("final")));
  const std::string &aside = staged.workPath();
  FolderManifest::Hashes hashes;
  LORAC_TRY(formats::writePeftAdapter(aside, adapter, &hashes));
  for (const auto &[name, text] : texts) {
    LORAC_TRY(formats::writeDurably(aside + "/" + name, text));
    hashes[name] = formats::hashHex(text);
  }
  LORAC_TRY(staged.sync());
  bool isSame = true;
  for (auto file = hashes.begin(); file != hashes.end();) {
    const auto &[name, hash] = *file;
    Result<std::string> written = formats::hashFile(aside + "/" + name);
    if (!written || *written != hash)
      return Error{"'" + at(name) + "' does not read back as it was written" +
                   (written ? "" : ": " + written.error().message)};
    Result<std::string> there = formats::hashFile(at(name));
    if (!there && exists(at(name)))
      return there.error();
    const bool ours = !exists(at(name)) || (there && manifest.lists(name, *there));
    if (!ours && (name == weights || name == config))
      return Error{"'" + at(name) + "' is there, and lorac did not write it; move it away",
                   Exit::Refused};
    if (name == config)
      isSame = there && *there == hash;
    if (!ours) {
      warn("'" + at(name) + "' stays as it is: it was changed while the run went on");
      file = hashes.erase(file);
    } else {
      ++file;
    }
  }
  manifest.pending = hashes;
  LORAC_TRY(note());
  // Where the configuration changes, the old weights go out of sight before it does and the new
  // ones come after it; what fails meanwhile puts them back.
  const bool hides = !isSame && exists(at(weights));
  const std::string oldWeights = aside + "/old.weights", oldConfig = aside + "/old.config";
  Result<void> named;
  if (hides)
    named = rename(at(weights), oldWeights);
  if (named && hides && exists(at(config)))
    named = rename(at(config), oldConfig);
  for (const bool isWeights : {false, true})
    for (const auto &[name, hash] : hashes)
      if (named && (name == weights) == isWeights)
        named = rename(aside + "/" + name, at(name));
  if (!named) {
    if (exists(oldConfig))
      (void)rename(oldConfig, at(config));
    if (exists(oldWeights))
      (void)rename(oldWeights, at(weights));
    return named;
  }
  LORAC_TRY(formats::syncFolder(folder));
  for (const auto &[name, hash] : hashes)
    manifest.files[name] = hash;
  manifest.pending.clear();
  Result<void> noted = note();
  if (Result<void> gone = staged.discard(); !gone)
    warn(gone.error().message + "; the next run in this folder removes it");
  return noted;
}

std::string RunFolder::standing() const {
  if (!newest.empty())
    return "'" + newest + "' stands";
  return replacing ? "the earlier run in '" + folder +
                         "' stands as it was, and no checkpoint of this "
                         "one"
                   : "no checkpoint was saved yet";
}

} // namespace lorac::train
