#include "runtime/train/Trainer.h"

#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Manifest.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/Optimizer.h"
#include "runtime/train/Output.h"
#include "runtime/train/Profile.h"
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
  Loop(Session &session, const Corpus &corpus, const TrainOptions &options, Progress &progress)
      : session(session), run(session.run), corpus(corpus), options(options), progress(progress),
        stream(corpus, {run.batchSize, run.maxLength, session.plan.maxSegments, run.accumulation,
                        run.packing, run.seed}),
        groups(makeGroups(session.plan, run.loraPlusRatio)), adam{run.beta1, run.beta2, run.eps,
                                                                  run.weightDecay} {}

  Result<TrainOutcome> go() {
    if (Result<void> ready = prepare(); !ready)
      return ready.error();
    if (Result<void> done = evaluate(); !done)
      return done.error();
    progress.begin(state.step, total);
    while (state.step < total && !stopSignal()) {
      if (swap && swap->isDue(state.step))
        if (Result<void> done = swapProgram(); !done)
          return done.error();
      if (stopSignal() && !isNewProgram) // one that took over is reported after a step
        break;
      if (Result<void> done = step(); !done)
        return done.error();
      if (Result<void> done = evaluate(); !done)
        return done.error();
      bool last = state.step == total;
      bool stopped = stopSignal() != 0;
      if (last || stopped || (run.saveSteps > 0 && state.step % run.saveSteps == 0))
        if (Result<void> saved = save(); !saved)
          return saved.error();
    }
    progress.finish();
    return finish();
  }

private:
  Result<void> prepare();
  Result<void> resume();
  Result<void> resumeProgram(const std::string &folder);
  Result<void> step();
  /// Where one is due and not done yet.
  Result<void> evaluate();
  Result<void> allocateRanks(int64_t index, const LoracUpdate &update);
  Result<void> swapProgram();
  Result<void> reportProgram();
  Result<void> writeRanks(int64_t step, const RankPattern &live, const Allocation *made,
                          const ProgramRecord *program);
  Result<void> writeRankFiles();
  /// The triplets that an adapter is made of; null without AdaLoRA.
  const TripletSets *live() {
    if (ranks)
      livePlaces = ranks->allocator().livePlaces();
    return ranks ? &livePlaces : nullptr;
  }
  CheckpointRanks rankState() const;
  Result<void> save();
  Result<TrainOutcome> finish();
  Result<void> write(const MetricsLine &line);
  Result<void> windowLoss(const std::vector<MicroBatch> &window, int64_t labels, double &loss);

  Session &session;
  const RunConfig &run;
  const Corpus &corpus;
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
  MetricsFile metrics, extraMetrics;
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
  removeLeftovers(options.outDir);
  if (options.resume)
    if (Result<void> resumed = resume(); !resumed)
      return resumed;
  if (state.step == 0) {
    Result<void> started = session.edit([&](const TrainedFloats &trained) -> Result<void> {
      initAdapter(plan, trained.params, run.seed);
      if (run.initFrom.empty())
        return {};
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
    if (Result<void> removed = removeRun(options.outDir); !removed)
      return removed;
  }
  Result<MetricsFile> file =
      MetricsFile::open(options.outDir + "/metrics.jsonl", state.metricsBytes);
  if (!file)
    return file.error();
  metrics = std::move(*file);
  if (!options.metricsFile.empty()) {
    Result<MetricsFile> extra = state.step > 0
                                    ? MetricsFile::openAtStep(options.metricsFile, state.step)
                                    : MetricsFile::open(options.metricsFile, 0);
    if (!extra)
      return extra.error();
    extraMetrics = std::move(*extra);
  }
  if (ranks && state.step == 0)
    if (Result<void> written = writeRanks(0, ranks->allocator().liveRanks(), nullptr, nullptr);
        !written)
      return written;
  if (!options.profileFile.empty())
    return session.backend->startProfile();
  return {};
}

/// Live ranks and what is resident, in the metrics; with the program that took over, if one did.
Result<void> Loop::writeRanks(int64_t step, const RankPattern &live, const Allocation *made,
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
  return write(line);
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
  return writeRanks(index + 1, live, &**made, nullptr);
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
    return writeManifest(options.outDir, run, swap->records());
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
  if (Result<void> written = writeManifest(options.outDir, run, swap->records()); !written)
    return written;
  return writeRanks(record.step, swap->live(), nullptr, &record);
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
  const RankState fresh = ranks ? ranks->allocator().state() : RankState();
  for (const std::string &folder : listCheckpoints(options.outDir)) {
    TrainerState found;
    Result<void> read = resumeProgram(folder);
    if (read)
      read = session.edit([&](const TrainedFloats &trained) -> Result<void> {
        Result<TrainerState> checkpoint = readCheckpoint(folder, session.plan, trained, identity);
        if (!checkpoint)
          return checkpoint.error();
        found = *checkpoint;
        return {};
      });
    if (!read) {
      if (read.error().message.find("' is corrupt: ") == std::string::npos)
        return read.error();
      progress.say("warning: " + read.error().message + "; an older one is tried");
      continue;
    }
    if (found.step > total)
      return Error{"checkpoint '" + folder + "' is at step " + std::to_string(found.step) +
                       ", the run ends at " + std::to_string(total) + "; raise --steps",
                   Exit::Refused};
    if (ranks) {
      if (!found.ranks)
        return Error{"checkpoint '" + folder + "' has no ranks of AdaLoRA", Exit::ForeignFile};
      if (found.ranks->pace)
        if (Result<void> restored = ranks->restorePace(*found.ranks->pace); !restored)
          return restored;
    }
    state = found;
    state.totalSteps = total;
    savedStep = state.step;
    stream.seek(state.position);
    progress.say(fmt::format("goes on from '{}' at step {} of {}", folder, state.step, total));
    return {};
  }
  if (ranks) { // one that could not be read may have changed them
    if (Result<void> restored = ranks->restore(fresh); !restored)
      return restored;
    if (swap)
      if (Result<void> resumed = swap->resume(fresh, {}, session); !resumed)
        return resumed;
    groups = makeGroups(session.plan, run.loraPlusRatio);
  }
  progress.say("no checkpoint in '" + options.outDir + "' to go on from: begins at step 0");
  return {};
}

/// Forward and backward of a window: gradients added up, and the mean loss of its labels.
Result<void> Loop::windowLoss(const std::vector<MicroBatch> &window, int64_t labels, double &loss) {
  if (Result<void> zeroed = session.backend->zeroGrads(); !zeroed)
    return zeroed;
  double sum = 0;
  for (size_t micro = 0; micro < window.size(); ++micro) {
    const MicroBatch &batch = window[micro];
    if (Result<void> fed = session.feed(batch); !fed)
      return fed;
    if (Result<void> ran = session.execute(Program::Train, batch, 1.0f / float(labels), state.step,
                                           int64_t(micro));
        !ran)
      return ran;
    Result<double> rows = session.sumRowLoss(batch.tokens());
    if (!rows)
      return rows.error();
    sum += *rows;
  }
  loss = sum / double(labels);
  return {};
}

Result<void> Loop::step() {
  Clock::time_point begin = Clock::now();
  std::vector<MicroBatch> window = stream.nextWindow();
  int64_t labels = 0, tokens = 0;
  for (const MicroBatch &batch : window) {
    labels += batch.labels;
    tokens += batch.tokens();
  }
  int64_t index = state.step;
  state.tokensSeen += tokens;
  double rate = run.learningRate * schedule.factor(index);
  if (labels == 0) {
    ++state.step;
    state.position = stream.position();
    progress.say(
        fmt::format("step {}: no token of its {} has a label; skipped", state.step, tokens));
    return {};
  }

  double loss = 0;
  if (Result<void> ran = windowLoss(window, labels, loss); !ran)
    return ran;
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
    return Error{fmt::format("step {}: the {} is {}; the adapter of step {} stands in the last "
                             "checkpoint; lower optimizer.learning_rate or look at the data",
                             index + 1, what, value, savedStep < 0 ? 0 : savedStep)};
  };
  if (!std::isfinite(loss) || !std::isfinite(norm)) {
    MetricsLine line;
    line.add("step", index + 1);
    line.add("loss", loss);
    line.add("grad_norm", norm);
    if (Result<void> written = write(line); !written)
      return written;
    return std::isfinite(loss) ? stopped("gradient's norm", norm) : stopped("loss", loss);
  }
  if (Result<void> updated = session.backend->update(update); !updated)
    return updated;
  ++state.updates;
  if (ranks)
    if (Result<void> done = allocateRanks(index, update); !done)
      return done;
  double seconds = since(begin);
  stepSeconds += seconds;
  stepTokens += tokens;
  if (state.updates == 1)
    state.firstLoss = loss;
  state.lastLoss = loss;
  ++state.step;
  state.position = stream.position();
  if (isNewProgram)
    if (Result<void> told = reportProgram(); !told)
      return told;

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
    if (Result<void> written = write(line); !written)
      return written;
  }
  progress.update({state.step, total, loss, double(tokens) / seconds, memory.peak});
  return {};
}

Result<void> Loop::evaluate() {
  bool due = state.step == 0 || state.step == total ||
             (run.evalSteps > 0 && state.step % run.evalSteps == 0);
  bool done = !state.evals.empty() && state.evals.back().first == state.step;
  if (corpus.eval.empty() || !due || done)
    return {};
  Result<std::optional<double>> finished = evalLoss(session, corpus, corpus.eval);
  if (!finished)
    return Error{fmt::format("step {}: {}", state.step, finished.error().message),
                 finished.error().code};
  if (!*finished) // stopped: a resumed run does it
    return {};
  double loss = **finished;
  state.evals.emplace_back(state.step, loss);
  if (ranks && state.step > 0)
    ranks->observe(state.step - 1, loss);
  MetricsLine line;
  line.add("step", state.step);
  line.add("eval_loss", loss);
  line.add("epoch", stream.epochs());
  if (Result<void> written = write(line); !written)
    return written;
  progress.say(fmt::format("step {}: loss on held-out samples {:.4f}", state.step, loss));
  return {};
}

Result<void> Loop::write(const MetricsLine &line) {
  if (Result<void> written = extraMetrics.write(line); !written)
    return written;
  return metrics.write(line);
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

/// The manifest, and the picture of the ranks over time: from the metrics, which a resumed run goes
/// on with.
Result<void> Loop::writeRankFiles() {
  if (swap)
    if (Result<void> written = writeManifest(options.outDir, run, swap->records()); !written)
      return written;
  Result<RankHistory> history =
      readRankHistory(options.outDir + "/metrics.jsonl", ranks->modules());
  if (!history)
    return history.error();
  history->title = run.spec;
  return writeRankHeatMap(options.outDir + "/ranks.svg", *history);
}

Result<void> Loop::save() {
  state.metricsBytes = metrics.bytes();
  if (ranks)
    state.ranks = rankState();
  Result<TrainedFloats> trained = session.backend->read();
  if (!trained)
    return trained.error();
  Result<void> written = writeCheckpoint(
      options.outDir, session.plan, *trained,
      takeAdapter(session.plan, trained->params, run, session.modelPath, live()), state, identity);
  if (written)
    savedStep = state.step;
  return written;
}

Result<TrainOutcome> Loop::finish() {
  int signal = state.step < total ? stopSignal() : 0;
  if (signal && savedStep != state.step)
    if (Result<void> saved = save(); !saved)
      return saved.error();
  if (!signal) {
    CardFacts facts{session.modelPath.empty()
                        ? "weights drawn from seed " + std::to_string(run.seed)
                        : session.modelPath,
                    corpus.notes, session.plan.paramRegion.count, since(begun)};
    Result<TrainedFloats> trained = session.backend->read();
    if (!trained)
      return trained.error();
    formats::Adapter adapter =
        takeAdapter(session.plan, trained->params, run, session.modelPath, live());
    if (Result<void> written =
            writeOutput(options.outDir, adapter, options.specToml, run, state, facts);
        !written)
      return written.error();
    if (ranks)
      if (Result<void> written = writeRankFiles(); !written)
        return written.error();
  }
  if (!options.profileFile.empty())
    if (Result<void> written = writeProfile(options.profileFile, session, stepSeconds, stepTokens);
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
  if (signal)
    progress.say(fmt::format("stopped at step {} of {}; checkpoint in '{}'\ngo on with: {}",
                             state.step, total, checkpointPath(options.outDir, state.step),
                             options.resumeCommand));
  else
    progress.say(fmt::format("done: step {}, loss {:.4f} -> {:.4f}; adapter in '{}'", state.step,
                             state.firstLoss, state.lastLoss, options.outDir));
  return TrainOutcome{state.step, signal};
}

} // namespace

Result<TrainOutcome> train(Session &session, const Corpus &corpus, const TrainOptions &options,
                           Progress &progress) {
  if (session.plan.maxSegments < session.run.batchSize && corpus.batchRows == 0)
    return Error{
        "plan.json: 'limits.max_segments' is below train.batch_size; compile the spec again",
        Exit::ForeignFile};
  return Loop(session, corpus, options, progress).go();
}

} // namespace lorac::train
