// What the training loop writes: checkpoints, the adapter, and how long it waits for room.
#include "runtime/train/Arena.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Loop.h"
#include "runtime/train/ModelCard.h"
#include "runtime/train/Profile.h"
#include "runtime/train/ResidentTable.h"
#include "runtime/train/SavePatience.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

Result<void> Loop::checkState() {
  Result<TrainedFloats> trained = session.backend->read();
  if (!trained)
    return trained.error();
  const std::string what = fmt::format("step {}: after the update", state.step);
  Result<void> finite = requireFiniteState(session.plan, *trained, what);
  if (!finite)
    return Error{
        fmt::format("{}; nothing of it is saved; {}; lower optimizer.learning_rate or look "
                    "at the data",
                    finite.error().message, folder.standing())};
  if (takeAdapter(session.plan, trained->params, run, session.modelPath, live()).modules.empty())
    return Error{fmt::format("step {}: all modules have rank 0: there is no adapter to save; {}",
                             state.step, folder.standing())};
  return {};
}

Result<void> Loop::save() {
  if (ranks)
    state.ranks = rankState();
  Result<TrainedFloats> trained = session.backend->read();
  if (!trained)
    return trained.error();
  const formats::Adapter adapter =
      takeAdapter(session.plan, trained->params, run, session.modelPath, live());
  Result<void> written =
      folder.save({session.plan, *trained, adapter, identity}, state, run.saveTotalLimit);
  if (written)
    savedStep = state.step;
  return written;
}

Result<void> Loop::trySave(bool goesOn) {
  if (Result<void> fit = checkState(); !fit)
    return fit;
  Result<void> saved = save();
  if (saved || !goesOn) // the last one is waited for
    return {};
  progress.warn(fmt::format("step {}: no checkpoint: {}; {}; the run goes on, and the next one is "
                            "tried",
                            state.step, saved.error().message, folder.standing()));
  return {};
}

Result<void> Loop::publish() {
  CardFacts facts{session.modelPath.empty() ? "weights drawn from seed " + std::to_string(run.seed)
                                            : session.modelPath,
                  corpus.notes, session.plan.region(RegionKind::Params).count, since(begun)};
  Result<TrainedFloats> trained = session.backend->read();
  if (!trained)
    return trained.error();
  const formats::Adapter adapter =
      takeAdapter(session.plan, trained->params, run, session.modelPath, live());
  std::map<std::string, std::string> texts = {{"spec.toml", options.specToml},
                                              {"README.md", modelCard(adapter, run, state, facts)}};
  if (ranks)
    if (std::optional<std::string> picture = rankPicture())
      texts["ranks.svg"] = *picture;
  if (swap)
    notePrograms();
  return folder.publish(adapter, texts);
}

Result<void> Loop::saveLast(bool isDone) {
  // A run that was resumed at its end has a checkpoint, but what it publishes is looked at too.
  if (Result<void> fit = checkState(); !fit)
    return fit;
  SavePatience patience;
  bool published = !isDone;
  for (;;) {
    Result<void> written = savedStep == state.step ? Result<void>() : save();
    if (written && !published) {
      written = publish();
      published = bool(written);
    }
    if (written)
      return {};
    const std::string what =
        fmt::format("step {}: {}; {}", state.step, written.error().message, folder.standing());
    if (!patience.isLeft())
      return Error{fmt::format("{}; go on with: {}", what, options.resumeCommand)};
    progress.warn(fmt::format("{}; free {} on the file system of '{}': tried again for {} more",
                              what, formatBytes(checkpointBytes()), folder.path(),
                              formatDuration(patience.secondsLeft())));
    patience.wait();
  }
}

/// JSON of a checkpoint's files, and what their headers have.
static constexpr uint64_t headers = uint64_t(64) << 10;

uint64_t Loop::adapterBytes() const {
  return uint64_t(session.plan.region(RegionKind::Params).bytes());
}

uint64_t Loop::checkpointBytes() const {
  // Of AdaLoRA the parameters are in both files.
  uint64_t sum = ranks ? adapterBytes() : 0;
  for (const PlanRegion &region : session.plan.trained())
    sum += uint64_t(region.bytes());
  return sum + headers;
}

/// A run that could keep nothing is not begun.
Result<void> Loop::checkSpace() {
  const std::optional<uint64_t> space = freeSpace(folder.path());
  if (!space)
    return {};
  const uint64_t one = checkpointBytes(), adapter = adapterBytes() + headers / savedRegions();
  const int64_t left = total - state.step;
  int64_t kept = left <= 0 ? 0 : run.saveSteps > 0 ? (left + run.saveSteps - 1) / run.saveSteps : 1;
  if (run.saveTotalLimit > 0)
    kept = std::min(kept, run.saveTotalLimit + 2); // the best, and the one that is being written
  const auto tell = [&](int64_t count) {
    return fmt::format("'{}' has {} free; {} and the adapter take {}", folder.path(),
                       formatBytes(*space),
                       count == 1 ? "a checkpoint" : fmt::format("{} checkpoints", count),
                       formatBytes(uint64_t(count) * one + adapter));
  };
  if (*space < (kept > 0 ? one : 0) + adapter)
    return Error{tell(kept > 0 ? 1 : 0) + ": free some, or name another folder with --out"};
  if (kept > 1 && double(*space) < double(kept) * double(one) + double(adapter))
    progress.warn(tell(kept) + ": train.save_total_limit keeps only so many of them");
  return {};
}

Result<TrainOutcome> Loop::finish() {
  int signal = state.step < total || evalStopped ? stopSignal() : 0;
  if (!signal || savedStep != state.step)
    if (Result<void> saved = saveLast(signal == 0); !saved)
      return saved.error();
  for (const std::string &path : {folder.metricsLackLines() ? folder.metricsPath() : "",
                                  extraMetrics.lacksLines() ? options.metricsFile : ""})
    if (!path.empty())
      progress.warn("lines are missing at the end of '" + path + "': they could not be written");
  if (!options.profileFile.empty())
    if (Result<void> written =
            writeProfile(options.profileFile, session, corpus, stepSeconds, stepTokens);
        !written)
      return written.error();
  const MemoryUse memory = session.backend->device().memory();
  if (memory.ofGpu)
    progress.say(fmt::format("memory of the GPU: {} planned, {} taken; of the host {} at most "
                             "resident",
                             formatBytes(memory.planned), formatBytes(memory.peak),
                             formatBytes(peakMemoryBytes())));
  else
    progress.say(fmt::format("memory: {} planned, {} at most resident", formatBytes(memory.planned),
                             formatBytes(memory.peak)));
  if (!memory.ofGpu && !session.memory.lines.empty())
    progress.say(residentTable(session, corpus).text());
  if (signal)
    progress.say(fmt::format("stopped at step {} of {}; checkpoint in '{}'\ngo on with: {}",
                             state.step, total, checkpointPath(folder.path(), state.step),
                             options.resumeCommand));
  else
    progress.say(fmt::format("done: step {}, loss {:.4f} -> {:.4f}; adapter in '{}'", state.step,
                             state.firstLoss, state.lastLoss, folder.path()));
  return TrainOutcome{state.step, signal};
}

} // namespace lorac::train
