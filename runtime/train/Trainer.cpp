#include "runtime/train/Trainer.h"

#include "runtime/formats/Finite.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Loop.h"
#include "runtime/train/StepScalars.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

using Clock = std::chrono::steady_clock;

Result<void> Loop::prepare() {
  total = run.steps > 0 ? run.steps : stream.stepsOf(run.epochs);
  schedule = {run.schedule,
              run.warmupRatio > 0 ? warmupFromRatio(run.warmupRatio, total) : run.warmupSteps,
              total};
  const Plan &plan = session.plan;
  identity = {plan.onGpu() ? plan.device + " " + plan.compute : plan.device,
              session.backend->device().weightsHash(),
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
  if (Result<void> committed = session.backend->device().commit(); !committed)
    return committed;
  if (!options.profileFile.empty())
    return session.backend->device().startProfile();
  return {};
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
    if (!checkpoint.ends_with("/checkpoint-" + std::to_string(found.step)))
      return Error{"checkpoint '" + checkpoint + "' holds the state of step " +
                       std::to_string(found.step) +
                       ": it was renamed; give it the name checkpoint-" +
                       std::to_string(found.step) + " again",
                   Exit::Refused};
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
      // An allocation that changes nothing is not told again by a run that goes on.
      if (const int64_t first = ranks->nextAllocation(0); first != 0 && first < found.step)
        lastLive = ranks->allocator().liveRanks();
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
  Result<float> found = session.backend->gradNorm(run.maxGradNorm);
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
  if (Result<void> updated = session.backend->update(
          stepScalars(session.plan.updateScalars, groups, rate, state.updates + 1));
      !updated)
    return updated.error();
  ++state.updates;
  if (ranks)
    if (Result<void> done = allocateRanks(index, rate); !done)
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

  const MemoryUse memory = session.backend->device().memory();
  if (state.step % run.loggingSteps == 0 || state.step == total) {
    MetricsLine line;
    line.add("step", state.step);
    line.add("loss", loss);
    line.add("learning_rate", rate);
    for (const ParamGroup &group : groups)
      line.add(fmt::format("learning_rate/{}", toString(group.part)), rate * group.lrRatio);
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

Result<TrainOutcome> train(Session &session, const Corpus &corpus, RunFolder &folder,
                           const TrainOptions &options, Progress &progress) {
  if (session.plan.maxSegments < session.run.batchSize && corpus.batchRows == 0)
    return Error{
        "plan.json: 'limits.max_segments' is below train.batch_size; compile the spec again",
        Exit::ForeignFile};
  if (corpus.batchRows > 0 && corpus.batchRows != session.run.batchSize)
    progress.warn(fmt::format("batches have {} rows, as the file of tokens has them, and not "
                              "train.batch_size = {}",
                              corpus.batchRows, session.run.batchSize));
  return Loop(session, corpus, folder, options, progress).go();
}

} // namespace lorac::train
