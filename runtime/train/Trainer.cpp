#include "runtime/train/Trainer.h"

#include "runtime/formats/Finite.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/CheckpointRanks.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/ModelCard.h"
#include "runtime/train/Optimizer.h"
#include "runtime/train/Profile.h"
#include "runtime/train/ResidentTable.h"
#include "runtime/train/RunFolder.h"
#include "runtime/train/SavePatience.h"
#include "runtime/train/Signals.h"
#include "runtime/train/ranks/ProgramSwap.h"
#include "runtime/train/ranks/RankHeatMap.h"
#include "runtime/train/ranks/RankTraining.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

namespace lorac::train {

namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

class Loop {
public:
  Loop(Session &session, const Corpus &corpus, RunFolder &folder, const TrainOptions &options,
       Progress &progress)
      : session(session), run(session.run), corpus(corpus), folder(folder), options(options),
        progress(progress), stream(corpus, {run.batchSize, run.maxLength, session.plan.maxSegments,
                                            run.accumulation, run.packing, run.seed}),
        groups(makeGroups(session.plan, run.loraPlusRatio)),
        adam{run.beta1, run.beta2, run.eps, run.weightDecay} {}

  Result<TrainOutcome> go() {
    if (Result<void> ready = prepare(); !ready)
      return ready.error();
    const size_t evaluated = state.evals.size();
    if (Result<void> done = evaluate(); !done)
      return done.error();
    if (savedStep == state.step && state.evals.size() != evaluated) // its run was stopped before
      if (Result<void> saved = trySave(true); !saved)
        return saved.error();
    progress.begin(state.step, total);
    while (state.step < total && !stopSignal()) {
      if (swap && swap->isDue(state.step))
        if (Result<void> done = swapProgram(); !done)
          return done.error();
      if (stopSignal() && !isNewProgram) // one that took over is reported after a step
        break;
      Result<bool> stepped = step();
      if (!stepped)
        return stepped.error();
      if (!*stepped)
        break;
      if (Result<void> done = evaluate(); !done)
        return done.error();
      bool last = state.step == total;
      bool stopped = stopSignal() != 0;
      if (last || stopped || (run.saveSteps > 0 && state.step % run.saveSteps == 0))
        if (Result<void> saved = trySave(!last && !stopped); !saved)
          return saved.error();
    }
    progress.finish();
    return finish();
  }

private:
  Result<void> prepare();
  Result<void> resume();
  Result<void> resumeProgram(const std::string &folder);
  /// False: a signal came between its micro-batches, and the state is that before the step.
  Result<bool> step();
  /// Where one is due and not done yet.
  Result<void> evaluate();
  Result<void> allocateRanks(int64_t index, const LoracUpdate &update);
  Result<void> swapProgram();
  Result<void> reportProgram();
  void writeRanks(int64_t step, const RankPattern &live, const Allocation *made,
                  const ProgramRecord *program);
  void notePrograms();
  /// The picture of the ranks over time, from the metrics, which a resumed run goes on with.
  std::optional<std::string> rankPicture();
  /// The triplets that an adapter is made of; null without AdaLoRA.
  const TripletSets *live() {
    if (ranks)
      livePlaces = ranks->allocator().livePlaces();
    return ranks ? &livePlaces : nullptr;
  }
  CheckpointRanks rankState() const;
  /// Error: what may not be saved, never what cannot be written.
  Result<void> checkState();
  Result<void> save();
  /// A checkpoint, or words why there is none; `goesOn`: another one will be tried.
  Result<void> trySave(bool goesOn);
  Result<void> publish();
  /// Checkpoint and adapter, waited for while they cannot be written.
  Result<void> saveLast(bool isDone);
  uint64_t checkpointBytes() const;
  Result<void> checkSpace();
  Result<TrainOutcome> finish();
  void write(const MetricsLine &line);
  Result<std::optional<double>> windowLoss(const std::vector<MicroBatch> &window, int64_t labels);

  Session &session;
  const RunConfig &run;
  const Corpus &corpus;
  RunFolder &folder;
  const TrainOptions &options;
  Progress &progress;
  BatchStream stream;
  std::vector<ParamGroup> groups;
  AdamW adam;
  Schedule schedule;
  RunIdentity identity;
  TrainerState state;
  std::optional<RankTraining> ranks; ///< AdaLoRA
  std::optional<ProgramSwap> swap;   ///< and where something may die
  TripletSets livePlaces;
  RankPattern lastLive;
  bool isNewProgram = false;
  bool evalStopped = false; ///< the evaluation that was due is left to the resumed run
  int64_t zeroNorms = 0;    ///< steps in a row whose gradient was exactly 0
  MetricsFile extraMetrics;
  bool extraFailed = false;
  int64_t total = 0, savedStep = -1;
  Clock::time_point begun = Clock::now();
  double stepSeconds = 0;
  int64_t stepTokens = 0;
};

Result<void> Loop::prepare() {
  total = run.steps > 0 ? run.steps : stream.stepsOf(run.epochs);
  schedule = {run.schedule,
              run.warmupRatio > 0 ? warmupFromRatio(run.warmupRatio, total) : run.warmupSteps,
              total};
  const Plan &plan = session.plan;
  identity = {plan.onGpu() ? plan.device + " " + plan.compute : plan.device,
              session.backend->weightsHash(),
              corpus.hash,
              fingerprint(run),
              total,
              run.schedule != ScheduleKind::Constant};
  if (run.identity)
    identity.base = run.identity->facts();
  state.totalSteps = total;
  if (run.adalora) {
    Result<RankTraining> training = RankTraining::create(plan, *run.adalora, total);
    if (!training)
      return training.error();
    ranks.emplace(std::move(*training));
    if (run.adalora->prune != PruneMode::Mask)
      swap.emplace(options.recompiler,
                   RebuildPolicy(run.adalora->rebuildAlways, plan.maxTokens * run.accumulation),
                   total);
  }

  if (Result<void> some = requireLabels(stream, total); !some)
    return some;
  if (options.resume)
    if (Result<void> resumed = resume(); !resumed)
      return resumed;
  if (state.step == 0) {
    Result<void> started = session.edit([&](const TrainedFloats &trained) -> Result<void> {
      initAdapter(plan, trained.params, run.seed);
      if (run.initFrom.empty())
        return {};
      if (Result<void> same = checkAdapterBase(
              run.initFrom, run, [&](const std::string &line) { progress.say(line); });
          !same)
        return same;
      Result<std::vector<std::string>> notes =
          loadAdapter(plan, trained.params, run.initFrom, AdapterUse::Continue, run.useRslora);
      if (!notes)
        return notes.error();
      for (const std::string &note : *notes)
        progress.say("init_from: " + note);
      return {};
    });
    if (!started)
      return started;
  }
  if (Result<void> space = checkSpace(); !space)
    return space;
  auto warn = [this](const std::string &line) { progress.warn(line); };
  if (Result<void> begun = folder.begin(state, run.spec, warn); !begun)
    return begun;
  if (!options.metricsFile.empty()) {
    Result<MetricsFile> extra = state.step > 0
                                    ? MetricsFile::openAtStep(options.metricsFile, state.step)
                                    : MetricsFile::open(options.metricsFile, 0);
    if (!extra)
      return extra.error();
    extraMetrics = std::move(*extra);
  }
  if (ranks && state.step == 0)
    writeRanks(0, ranks->allocator().liveRanks(), nullptr, nullptr);
  if (Result<void> committed = session.backend->commit(); !committed)
    return committed;
  if (!options.profileFile.empty())
    return session.backend->startProfile();
  return {};
}

/// Live ranks and what is resident, in the metrics; with the program that took over, if one did.
void Loop::writeRanks(int64_t step, const RankPattern &live, const Allocation *made,
                      const ProgramRecord *program) {
  MetricsLine line;
  line.add("step", step);
  if (made) {
    line.add("budget", made->budget);
    if (std::isfinite(made->threshold))
      line.add("threshold", made->threshold);
  }
  if (program) {
    line.add("program_ranks", program->ranksAfter);
    line.add("kernels_built", int64_t(program->kernelsBuilt));
    line.add("kernels_from_cache", int64_t(program->kernelsFromCache));
    line.add("hidden_ms", program->hiddenMs);
    line.add("waited_ms", program->waitedMs);
  }
  std::vector<std::pair<std::string, int64_t>> pattern;
  for (size_t m = 0; m < live.size(); ++m)
    pattern.emplace_back(ranks->modules()[m], live[m]);
  line.add("rank_pattern", pattern);
  const MemoryUse memory = session.backend->memory();
  line.add("resident_bytes", int64_t(memory.resident));
  line.add("planned_bytes", int64_t(memory.planned));
  write(line);
}

/// After the update of step `index` (from 0).
Result<void> Loop::allocateRanks(int64_t index, const LoracUpdate &update) {
  Result<std::optional<Allocation>> made = ranks->afterUpdate(*session.backend, update.clip, index);
  if (!made)
    return made.error();
  if (!*made)
    return {};
  const RankPattern live = ranks->allocator().liveRanks();
  const bool asked = ranks->allocator().requested();
  const std::string program = swap ? "; " + swap->decide(index, *ranks, session) : std::string();
  // With deltaT = 1 there are as many allocations as steps: those that change nothing pass in
  // silence, but for the last.
  if (live == lastLive && !(*made)->anyDied() && ranks->allocator().requested() == asked &&
      ranks->nextAllocation(index) != 0)
    return {};
  lastLive = live;
  progress.say(
      fmt::format("step {}: budget {}, {} of {} triplets live, {} of {} modules at rank 0{}",
                  index + 1, (*made)->budget, totalRank(live), session.plan.ranks->initial,
                  std::count(live.begin(), live.end(), 0), live.size(), program));
  writeRanks(index + 1, live, &**made, nullptr);
  return {};
}

/// Between two steps: the program that was asked for takes over.
Result<void> Loop::swapProgram() {
  const ProgramRecord *record = swap->swap(state.step, *ranks, session);
  if (!record) // a signal: it goes on with the resumed run
    return {};
  if (swap->lost())
    return *swap->lost();
  if (!record->failure.empty()) {
    progress.say(fmt::format("warning: step {}: no smaller program: {}; the old one goes on, the "
                             "ranks are what they would be",
                             state.step, record->failure));
    notePrograms();
    return {};
  }
  groups = makeGroups(session.plan, run.loraPlusRatio);
  stepSeconds = 0, stepTokens = 0; // the profile is that of the last program
  isNewProgram = true;
  // What died meanwhile would stay for good once the ranks stand.
  if (ranks->nextAllocation(state.step - 1) == 0 &&
      ranks->allocator().storedRanks() != ranks->allocator().keptRanks())
    progress.say(
        fmt::format("step {}: {}", state.step, swap->decide(state.step - 1, *ranks, session)));
  return {};
}

/// After the first step of a new program: only then is it known what is resident.
Result<void> Loop::reportProgram() {
  isNewProgram = false;
  const ProgramRecord &record = swap->measured(session.backend->memory());
  progress.say(fmt::format(
      "step {}: program of {} ranks in place of {}: {}; built for {:.0f} ms beside the run, waited "
      "for {:.0f} ms; planned {} -> {}, resident {} -> {}",
      record.step, record.ranksAfter, record.ranksBefore,
      record.fromCache ? "from the cache"
                       : fmt::format("{} kernels built, {} from the cache", record.kernelsBuilt,
                                     record.kernelsFromCache),
      record.hiddenMs, record.waitedMs, formatBytes(record.plannedBefore),
      formatBytes(record.plannedAfter), formatBytes(record.residentBefore),
      formatBytes(record.residentAfter)));
  notePrograms();
  writeRanks(record.step, swap->live(), nullptr, &record);
  return {};
}

/// Ranks and program of a checkpoint: its tensors are of that program.
Result<void> Loop::resumeProgram(const std::string &folder) {
  if (!ranks)
    return {};
  Result<std::optional<CheckpointRanks>> found = readCheckpointRanks(folder);
  if (!found || !*found) // the reader of the whole says what is wrong
    return found ? Result<void>() : found.error();
  if (Result<void> restored = ranks->restore((*found)->sets); !restored)
    return restored;
  if (!swap)
    return {};
  Result<void> resumed = swap->resume((*found)->sets, (*found)->swap, session);
  groups = makeGroups(session.plan, run.loraPlusRatio);
  return resumed;
}

/// Takes the newest checkpoint that is whole; one of another run is an error, not passed over.
Result<void> Loop::resume() {
  std::optional<Error> damage;
  for (const std::string &checkpoint : folder.checkpoints()) {
    TrainerState found;
    Result<void> read = resumeProgram(checkpoint);
    if (read)
      read = session.edit([&](const TrainedFloats &trained) -> Result<void> {
        Result<TrainerState> whole = readCheckpoint(checkpoint, session.plan, trained, identity);
        if (!whole)
          return whole.error();
        found = *whole;
        return {};
      });
    if (!read) {
      if (!read.error().corrupt)
        return read.error();
      progress.warn(read.error().message + "; an older one is tried");
      damage = read.error();
      continue;
    }
    if (found.step > total)
      return Error{"checkpoint '" + checkpoint + "' is at step " + std::to_string(found.step) +
                       ", the run ends at " + std::to_string(total) + "; raise --steps",
                   Exit::Refused};
    if (ranks) {
      if (!found.ranks)
        return Error{"checkpoint '" + checkpoint + "' has no ranks of AdaLoRA", Exit::ForeignFile};
      if (found.ranks->pace)
        if (Result<void> restored = ranks->restorePace(*found.ranks->pace); !restored)
          return restored;
    }
    state = found;
    state.totalSteps = total;
    savedStep = state.step;
    stream.seek(state.position);
    progress.say(fmt::format("goes on from '{}' at step {} of {}", checkpoint, state.step, total));
    return {};
  }
  if (damage)
    return *damage;
  progress.say("no checkpoint and no adapter in '" + folder.path() + "': begins at step 0");
  return {};
}

/// Forward and backward of a window: gradients added up, and the mean loss of its labels. Nothing
/// where a signal came between two micro-batches: the next window zeroes the gradients. (A program
/// that took over does its first step in any case: only then is it known what is resident.)
Result<std::optional<double>> Loop::windowLoss(const std::vector<MicroBatch> &window,
                                               int64_t labels) {
  if (Result<void> zeroed = session.backend->zeroGrads(); !zeroed)
    return zeroed.error();
  double sum = 0;
  for (size_t micro = 0; micro < window.size(); ++micro) {
    if (stopSignal() && !isNewProgram)
      return std::optional<double>();
    const MicroBatch &batch = window[micro];
    if (Result<void> fed = session.feed(batch); !fed)
      return fed.error();
    if (Result<void> ran = session.execute(Program::Train, batch, 1.0f / float(labels), state.step,
                                           int64_t(micro));
        !ran)
      return ran.error();
    Result<double> rows = session.sumRowLoss(batch.tokens());
    if (!rows)
      return rows.error();
    sum += *rows;
  }
  return std::optional<double>(sum / double(labels));
}

Result<bool> Loop::step() {
  Clock::time_point begin = Clock::now();
  std::vector<MicroBatch> window = stream.nextWindow();
  int64_t labels = 0, tokens = 0;
  for (const MicroBatch &batch : window) {
    labels += batch.labels;
    tokens += batch.tokens();
  }
  int64_t index = state.step;
  double rate = run.learningRate * schedule.factor(index);
  if (labels == 0) {
    ++state.step;
    state.tokensSeen += tokens;
    state.position = stream.position();
    progress.say(
        fmt::format("step {}: no token of its {} has a label; skipped", state.step, tokens));
    return true;
  }

  Result<std::optional<double>> ran = windowLoss(window, labels);
  if (!ran)
    return ran.error();
  if (!*ran)
    return false;
  double loss = **ran;
  Result<double> orthogonality = session.backend->regularize();
  if (!orthogonality)
    return orthogonality.error();
  if (ranks)
    loss += run.adalora->orthRegWeight * *orthogonality;
  LoracUpdate update = adam.scalars(groups, rate, state.updates + 1, run.maxGradNorm);
  Result<float> found = session.backend->gradNorm(update);
  if (!found)
    return found.error();
  const float norm = *found;
  auto stopped = [&](const char *what, double value) {
    progress.finish();
    return Error{fmt::format("step {}: the {} is {}; {}; lower optimizer.learning_rate or look at "
                             "the data",
                             index + 1, what, formats::numberText(value), folder.standing())};
  };
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    MetricsLine line;
    line.add("step", index + 1);
    line.add("loss", loss);
    line.add("grad_norm", norm);
    write(line);
    return std::isfinite(loss) ? stopped("gradient's norm", norm) : stopped("loss", loss);
  }
  zeroNorms = norm == 0 ? zeroNorms + 1 : 0;
  if (zeroNorms == 3)
    progress.say(
        fmt::format("warning: step {}: the gradient has been exactly 0 for 3 steps, so "
                    "nothing is learned; lower optimizer.learning_rate or look at the data",
                    index + 1));
  if (Result<void> updated = session.backend->update(update); !updated)
    return updated.error();
  ++state.updates;
  if (ranks)
    if (Result<void> done = allocateRanks(index, update); !done)
      return done.error();
  double seconds = since(begin);
  stepSeconds += seconds;
  stepTokens += tokens;
  if (state.updates == 1)
    state.firstLoss = loss;
  state.lastLoss = loss;
  ++state.step;
  state.tokensSeen += tokens;
  state.position = stream.position();
  if (isNewProgram)
    if (Result<void> told = reportProgram(); !told)
      return told.error();

  const MemoryUse memory = session.backend->memory();
  if (state.step % run.loggingSteps == 0 || state.step == total) {
    MetricsLine line;
    line.add("step", state.step);
    line.add("loss", loss);
    line.add("learning_rate", rate);
    for (const ParamGroup &group : groups)
      line.add("learning_rate/" + group.name, rate * group.lrRatio);
    line.add("grad_norm", norm);
    if (ranks)
      line.add("orthogonality", *orthogonality);
    line.add("epoch", stream.epochs());
    line.add("num_input_tokens_seen", state.tokensSeen);
    line.add("tokens_per_second", std::round(double(tokens) / seconds * 10) / 10);
    line.add("peak_memory_bytes", int64_t(memory.peak));
    if (ranks)
      line.add("resident_bytes", int64_t(memory.resident));
    if (memory.ofGpu)
      line.add("peak_host_memory_bytes", int64_t(peakMemoryBytes()));
    write(line);
  }
  progress.update({state.step, total, loss, double(tokens) / seconds, memory.peak});
  return true;
}

Result<void> Loop::evaluate() {
  bool due = state.step == 0 || state.step == total ||
             (run.evalSteps > 0 && state.step % run.evalSteps == 0);
  bool done = !state.evals.empty() && state.evals.back().first == state.step;
  if (corpus.eval.empty() || !due || done)
    return {};
  Result<std::optional<double>> finished = evalLoss(session, corpus, corpus.eval);
  if (!finished)
    return finished.error();
  evalStopped = !*finished;
  if (evalStopped) // a resumed run does it
    return {};
  double loss = **finished;
  if (!std::isfinite(loss))
    return Error{fmt::format("step {}: the loss on held-out samples is {}; lower "
                             "optimizer.learning_rate or look at the data",
                             state.step, formats::numberText(loss))};
  state.evals.emplace_back(state.step, loss);
  if (ranks && state.step > 0)
    ranks->observe(state.step - 1, loss);
  MetricsLine line;
  line.add("step", state.step);
  line.add("eval_loss", loss);
  line.add("epoch", stream.epochs());
  write(line);
  progress.say(
      fmt::format("step {}: loss on held-out samples {}", state.step,
                  std::isfinite(loss) ? fmt::format("{:.4f}", loss) : formats::numberText(loss)));
  return {};
}

void Loop::write(const MetricsLine &line) {
  folder.write(line);
  Result<void> written = extraMetrics.write(line);
  if (!written && !extraFailed)
    progress.warn(written.error().message +
                  "; the run goes on, and the lines are written when they can be");
  extraFailed = !written;
}

CheckpointRanks Loop::rankState() const {
  CheckpointRanks out;
  out.sets = ranks->allocator().state();
  if (const PruningPaceState *pace = ranks->paceState())
    out.pace = *pace;
  if (swap)
    out.swap = swap->state();
  return out;
}

void Loop::notePrograms() {
  Json programs = Json::array();
  for (const ProgramRecord &record : swap->records())
    programs.push_back(toJson(record));
  folder.notePrograms(programs.dump(-1, ' ', false, Json::error_handler_t::replace));
}

std::optional<std::string> Loop::rankPicture() {
  Result<RankHistory> history = readRankHistory(folder.metricsPath(), ranks->modules());
  if (!history) {
    progress.warn("no picture of the ranks: " + history.error().message);
    return std::nullopt;
  }
  history->title = run.spec;
  return rankHeatMap(*history);
}

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
                  corpus.notes, session.plan.paramRegion.count, since(begun)};
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

uint64_t Loop::checkpointBytes() const {
  const uint64_t values = uint64_t(session.plan.paramRegion.count);
  return values * sizeof(float) * (ranks ? 6 : 3) + (uint64_t(64) << 10);
}

/// A run that could keep nothing is not begun.
Result<void> Loop::checkSpace() {
  const std::optional<uint64_t> space = freeSpace(folder.path());
  if (!space)
    return {};
  const uint64_t one = checkpointBytes(), adapter = one / 3;
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
  if (folder.metricsLackLines())
    progress.warn("lines are missing at the end of '" + folder.metricsPath() +
                  "': they could not be written");
  if (!options.profileFile.empty())
    if (Result<void> written =
            writeProfile(options.profileFile, session, corpus, stepSeconds, stepTokens);
        !written)
      return written.error();
  const MemoryUse memory = session.backend->memory();
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

} // namespace

Result<TrainOutcome> train(Session &session, const Corpus &corpus, RunFolder &folder,
                           const TrainOptions &options, Progress &progress) {
  if (session.plan.maxSegments < session.run.batchSize && corpus.batchRows == 0)
    return Error{
        "plan.json: 'limits.max_segments' is below train.batch_size; compile the spec again",
        Exit::ForeignFile};
  return Loop(session, corpus, folder, options, progress).go();
}

} // namespace lorac::train
