#include "runtime/train/RunKeeper.h"

#include "runtime/train/AdapterState.h"
#include "runtime/train/ModelCard.h"
#include "runtime/train/SavePatience.h"
#include "runtime/train/ranks/RankHeatMap.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::train {

RunKeeper::RunKeeper(const TrainInput &in, RankDirector &ranks, int64_t total)
    : session(in.session), run(session.run), corpus(in.corpus), folder(in.folder),
      options(in.options), ranks(ranks), progress(in.progress), clock(in.clock), total(total),
      begun(clock.now()) {
  const Plan &plan = session.plan;
  identity = {plan.onGpu() ? plan.device + " " + plan.compute : plan.device,
              session.backend->device().weightsHash(),
              corpus.hash,
              fingerprint(run),
              total,
              run.schedule != ScheduleName::Constant};
  if (run.identity)
    identity.base = run.identity->facts();
}

// Going on

Result<std::optional<TrainerState>> RunKeeper::resume() {
  std::optional<Error> damage;
  for (const std::string &checkpoint : folder.checkpoints()) {
    Result<TrainerState> found = read(checkpoint);
    if (!found) {
      if (!found.error().corrupt)
        return found.error();
      progress.warn(found.error().message + "; an older one is tried");
      damage = found.error();
      continue;
    }
    Result<void> fits = checkFits(checkpoint, *found);
    if (fits && ranks.isOn())
      fits = ranks.resumePace(*found->ranks, found->step);
    if (!fits)
      return fits.error();
    found->totalSteps = total;
    savedStep = found->step;
    progress.say(fmt::format("goes on from '{}' at step {} of {}", checkpoint, found->step, total));
    return std::optional(std::move(*found));
  }
  if (damage)
    return *damage;
  progress.say("no checkpoint and no adapter in '" + folder.path() + "': begins at step 0");
  return std::optional<TrainerState>();
}

/// A checkpoint's ranks come before its tensors, which are of the program for them.
Result<TrainerState> RunKeeper::read(const std::string &checkpoint) {
  if (ranks.isOn()) {
    LORAC_TRY_ASSIGN(std::optional<CheckpointRanks> found, readCheckpointRanks(checkpoint));
    if (found) // else the reader of the whole says what is wrong
      LORAC_TRY(ranks.resumeProgram(*found));
  }
  TrainerState state;
  LORAC_TRY(session.edit([&](const TrainedFloats &trained) -> Result<void> {
    LORAC_TRY_ASSIGN(state, readCheckpoint(checkpoint, session.plan, trained, identity));
    return {};
  }));
  return state;
}

Result<void> RunKeeper::checkFits(const std::string &checkpoint, const TrainerState &found) const {
  const std::string step = std::to_string(found.step);
  if (!checkpoint.ends_with("/checkpoint-" + step))
    return Error{"checkpoint '" + checkpoint + "' holds the state of step " + step +
                     ": it was renamed; give it the name checkpoint-" + step + " again",
                 Exit::Refused};
  if (found.step > total)
    return Error{"checkpoint '" + checkpoint + "' is at step " + step + ", the run ends at " +
                     std::to_string(total) + "; raise --steps",
                 Exit::Refused};
  if (ranks.isOn() && !found.ranks)
    return Error{"checkpoint '" + checkpoint + "' has no ranks of AdaLoRA", Exit::ForeignFile};
  return {};
}

// Beginning

Result<void> RunKeeper::begin(const TrainerState &state) {
  LORAC_TRY(checkSpace(state.step));
  auto warn = [this](const std::string &line) { progress.warn(line); };
  LORAC_TRY(folder.begin(state, run.spec, warn));
  if (options.metricsFile.empty())
    return {};
  LORAC_TRY_ASSIGN(extraMetrics, state.step > 0
                                     ? MetricsFile::openAtStep(options.metricsFile, state.step)
                                     : MetricsFile::open(options.metricsFile, 0));
  return {};
}

/// JSON of a checkpoint's files, and what their headers have.
static constexpr uint64_t headers = uint64_t(64) << 10;

uint64_t RunKeeper::adapterBytes() const {
  return uint64_t(session.plan.region(RegionKind::Params).bytes());
}

uint64_t RunKeeper::checkpointBytes() const {
  // Of AdaLoRA the parameters are in both files.
  uint64_t sum = ranks.isOn() ? adapterBytes() : 0;
  for (const PlanRegion &region : session.plan.trained())
    sum += uint64_t(region.bytes());
  return sum + headers;
}

/// A run that could keep nothing is not begun.
Result<void> RunKeeper::checkSpace(int64_t step) {
  const std::optional<uint64_t> space = folder.freeSpace();
  if (!space)
    return {};
  const uint64_t one = checkpointBytes(), adapter = adapterBytes() + headers / savedRegions();
  const int64_t left = total - step;
  int64_t kept = left <= 0 ? 0 : run.saveSteps > 0 ? (left + run.saveSteps - 1) / run.saveSteps : 1;
  if (run.loadBest && run.evalSteps > 0)
    kept += left / run.evalSteps; // each evaluation may be the best
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

// Metrics and manifest

void RunKeeper::write(const MetricsLine &line) {
  folder.write(line);
  Result<void> written = extraMetrics.write(line);
  if (!written && !extraFailed)
    progress.warn(written.error().message +
                  "; the run goes on, and the lines are written when they can be");
  extraFailed = !written;
}

void RunKeeper::notePrograms() {
  if (std::optional<std::string> programs = ranks.programs())
    folder.notePrograms(*programs);
}

void RunKeeper::finish() {
  for (const std::string &path : {folder.metricsLackLines() ? folder.metricsPath() : "",
                                  extraMetrics.lacksLines() ? options.metricsFile : ""})
    if (!path.empty())
      progress.warn("lines are missing at the end of '" + path + "': they could not be written");
}

// Checkpoints and adapter

formats::Adapter RunKeeper::adapter(const TrainedFloats &trained) const {
  const std::optional<TripletSets> live = ranks.livePlaces();
  return takeAdapter(session.plan, trained.params, run, session.modelPath, live ? &*live : nullptr);
}

/// Error: what may not be saved.
Result<void> RunKeeper::checkState(const TrainerState &state) {
  LORAC_TRY_ASSIGN(TrainedFloats trained, session.backend->read());
  const std::string what = fmt::format("step {}: after the update", state.step);
  if (Result<void> finite = requireFiniteState(session.plan, trained, what); !finite)
    return Error{fmt::format("{}; nothing of it is saved; {}; lower optimizer.learning_rate or "
                             "look at the data",
                             finite.error().message, folder.standing())};
  if (adapter(trained).modules.empty())
    return Error{fmt::format("step {}: all modules have rank 0: there is no adapter to save; {}",
                             state.step, folder.standing())};
  return {};
}

Result<void> RunKeeper::save(TrainerState &state) {
  state.ranks = ranks.state();
  LORAC_TRY_ASSIGN(TrainedFloats trained, session.backend->read());
  const formats::Adapter taken = adapter(trained);
  Result<void> written =
      folder.save({session.plan, trained, taken, identity}, state, run.saveTotalLimit);
  if (written)
    savedStep = state.step;
  return written;
}

Result<void> RunKeeper::trySave(TrainerState &state, bool goesOn) {
  LORAC_TRY(checkState(state));
  Result<void> saved = save(state);
  if (saved || !goesOn) // the last one is waited for
    return {};
  progress.warn(fmt::format("step {}: no checkpoint: {}; {}; the run goes on, and the next one is "
                            "tried",
                            state.step, saved.error().message, folder.standing()));
  return {};
}

Result<void> RunKeeper::saveLast(TrainerState &state, bool isDone) {
  // A run that was resumed at its end has a checkpoint, but what it publishes is looked at too.
  LORAC_TRY(checkState(state));
  SavePatience patience(clock);
  bool published = !isDone;
  for (;;) {
    Result<void> written = isSaved(state.step) ? Result<void>() : save(state);
    if (written && !published) {
      written = publish(state);
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

bool RunKeeper::isBest(const TrainerState &state) {
  const auto &evals = state.evals;
  return state.step > 0 && !evals.empty() && evals.back().first == state.step &&
         std::none_of(evals.begin(), evals.end() - 1, [&](const auto &earlier) {
           return earlier.first > 0 && earlier.second <= evals.back().second;
         });
}

/// The adapter of the least held-out loss that a checkpoint has; the last one where none is whole.
void RunKeeper::takeBest(const TrainerState &state) {
  publishedOf = state.step;
  if (!run.loadBest)
    return;
  auto evals = state.evals;
  std::stable_sort(evals.begin(), evals.end(),
                   [](const auto &x, const auto &y) { return x.second < y.second; });
  for (const auto &[step, loss] : evals) {
    if (step == state.step)
      return;
    if (step == 0 || !folder.hasCheckpoint(step))
      continue;
    Result<void> taken = session.edit([&](const TrainedFloats &trained) -> Result<void> {
      LORAC_TRY(
          readCheckpoint(checkpointPath(folder.path(), step), session.plan, trained, identity));
      return {};
    });
    if (taken) {
      publishedOf = step;
      return;
    }
    progress.warn(taken.error().message + "; the adapter is that of another step");
  }
}

Result<void> RunKeeper::publish(const TrainerState &state) {
  takeBest(state);
  CardFacts facts{session.modelPath.empty() ? "weights drawn from seed " + std::to_string(run.seed)
                                            : session.modelPath,
                  corpus.notes, session.plan.region(RegionKind::Params).count, clock.now() - begun,
                  publishedOf};
  LORAC_TRY_ASSIGN(TrainedFloats trained, session.backend->read());
  const formats::Adapter taken = adapter(trained);
  std::map<std::string, std::string> texts = {{"spec.toml", options.specToml},
                                              {"README.md", modelCard(taken, run, state, facts)}};
  if (ranks.isOn())
    if (std::optional<std::string> picture = rankPicture())
      texts["ranks.svg"] = *picture;
  notePrograms();
  return folder.publish(taken, texts);
}

/// The ranks over time, from the metrics, which a resumed run goes on with.
std::optional<std::string> RunKeeper::rankPicture() {
  Result<RankHistory> history = readRankHistory(folder.metricsPath(), ranks.modules());
  if (!history) {
    progress.warn("no picture of the ranks: " + history.error().message);
    return std::nullopt;
  }
  history->title = run.spec;
  return rankHeatMap(*history);
}

} // namespace lorac::train
