#include "runtime/train/Trainer.h"

#include "runtime/formats/Finite.h"
#include "runtime/formats/StateLayout.h"
#include "runtime/train/AdapterState.h"
#include "runtime/train/Arena.h"
#include "runtime/train/Profile.h"
#include "runtime/train/ResidentTable.h"
#include "runtime/train/RunKeeper.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Stepper.h"
#include "runtime/train/ranks/RankDirector.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

namespace {

/// One run from its first step to its last: what follows what, and what is said of it.
class Loop {
public:
  Loop(const TrainInput &in, Stepper &stepper, RankDirector &ranks)
      : session(in.session), run(session.run), corpus(in.corpus), options(in.options),
        progress(in.progress), clock(in.clock), stepper(stepper), ranks(ranks),
        keeper(in, ranks, stepper.total()), total(stepper.total()) {}

  Result<TrainOutcome> go() {
    Result<void> done = prepare();
    if (done)
      done = evaluateFirst();
    if (!done)
      return done.error();
    progress.begin(state.step, total);
    while (state.step < total && !stopSignal() && !hasStalled())
      if (done = turn(); !done)
        return done.error();
    progress.finish();
    return finish();
  }

private:
  Device &device() { return session.backend->device(); }

  Result<void> prepare() {
    state.totalSteps = total;
    Result<void> done = stepper.requireLabels();
    if (done && run.loadBest && corpus.eval.empty())
      done = Error{"'train.load_best' and [train.early_stopping] go by the held-out loss, and no "
                   "sample is held out: raise data.eval_fraction",
                   Exit::Refused};
    if (done && options.resume)
      done = resume();
    const bool isFresh = state.step == 0;
    if (done && isFresh)
      done = session.edit([this](const TrainedFloats &trained) -> Result<void> {
        LORAC_TRY(beginAdapter(trained));
        if (float *start = trained.find(formats::startRegion))
          std::copy_n(trained.params, session.plan.region(RegionKind::Params).count, start);
        return {};
      });
    if (done)
      done = keeper.begin(state);
    if (done && isFresh)
      tell(ranks.begin());
    if (done)
      done = takeMemory();
    if (!options.profileFile.empty())
      device().startProfile();
    return done;
  }

  /// All that a step touches becomes resident, so that the first step takes nothing more.
  Result<void> takeMemory() {
    Result<void> done;
    const MemoryUse memory = device().memory();
    for (const MemoryRegion &region : memory.regions)
      if (done)
        done = makeResident(region.data, region.bytes);
    return done;
  }

  Result<void> resume() {
    LORAC_TRY_ASSIGN(std::optional<TrainerState> found, keeper.resume());
    if (found) {
      state = std::move(*found);
      stepper.seek(state.position);
    }
    return {};
  }

  Result<void> beginAdapter(const TrainedFloats &trained) {
    initAdapter(session.plan, trained.params, run.seed);
    if (run.initFrom.empty())
      return {};
    auto say = [this](const std::string &line) { progress.say(line); };
    LORAC_TRY(checkAdapterBase(run.initFrom, run, say));
    LORAC_TRY_ASSIGN(std::vector<std::string> notes,
                     loadAdapter(session.plan, trained.params, run.initFrom, AdapterUse::Continue,
                                 run.useRslora));
    for (const std::string &note : notes)
      progress.say("init_from: " + note);
    return {};
  }

  /// Before the first step of this process; a checkpoint may lack an evaluation that was due.
  Result<void> evaluateFirst() {
    const size_t evaluated = state.evals.size();
    Result<void> done = evaluate();
    if (done && keeper.isSaved(state.step) && state.evals.size() != evaluated)
      done = keeper.trySave(state, /*goesOn=*/true);
    return done;
  }

  /// From one step to the next. It ends early with a signal; what it leaves is a state to save.
  Result<void> turn() {
    LORAC_TRY(takeProgram());
    if (stopSignal() && !ranks.hasNewProgram())
      return {};
    LORAC_TRY_ASSIGN(bool stepped, step());
    if (!stepped)
      return {};
    LORAC_TRY(evaluate());
    return saveWhereDue();
  }

  Result<void> takeProgram() {
    LORAC_TRY_ASSIGN(RankNews news, ranks.takeProgram(state.step));
    if (ranks.hasNewProgram())
      timed = {}; // the profile is that of the last program
    tell(news);
    return {};
  }

  /// False: a signal came between its micro-batches, and the state is that before the step.
  Result<bool> step() {
    const double begin = clock.now();
    LORAC_TRY_ASSIGN(std::optional<StepFacts> stepped, stepper.step(state, ranks.hasNewProgram()));
    if (!stepped)
      return false;
    const StepFacts &facts = *stepped;
    if (facts.isSkipped()) {
      progress.say(fmt::format("step {}: no token of its {} has a label; skipped", facts.step,
                               facts.tokens));
      return true;
    }
    if (!facts.isFinite())
      return notFinite(facts);
    if (facts.zeroNorms == 3)
      progress.say(
          fmt::format("warning: step {}: the gradient has been exactly 0 for 3 steps, so "
                      "nothing is learned; lower optimizer.learning_rate or look at the data",
                      facts.step));
    LORAC_TRY_ASSIGN(RankNews news, ranks.afterUpdate(facts));
    tell(news);
    const double seconds = clock.now() - begin;
    timed.seconds += seconds;
    timed.tokens += facts.tokens;
    if (ranks.hasNewProgram())
      tell(ranks.reportProgram());
    record(facts, seconds);
    return true;
  }

  Error notFinite(const StepFacts &facts) {
    MetricsLine line;
    line.add("step", facts.step);
    line.add("loss", facts.loss);
    line.add("grad_norm", facts.gradNorm);
    keeper.write(line);
    progress.finish();
    const bool ofLoss = !std::isfinite(facts.loss);
    return {fmt::format("step {}: the {} is {}; {}; lower optimizer.learning_rate or look at the "
                        "data",
                        facts.step, ofLoss ? "loss" : "gradient's norm",
                        formats::numberText(ofLoss ? facts.loss : double(facts.gradNorm)),
                        keeper.standing())};
  }

  void record(const StepFacts &facts, double seconds) {
    const MemoryUse memory = device().memory();
    const double tokensPerSecond = double(facts.tokens) / seconds;
    if (state.step % run.loggingSteps == 0 || state.step == total) {
      MetricsLine line;
      line.add("step", state.step);
      line.add("loss", facts.loss);
      line.add("learning_rate", facts.rate);
      for (const ParamGroup &group : session.groups)
        line.add(fmt::format("learning_rate/{}", toString(group.part)), facts.rate * group.lrRatio);
      line.add("grad_norm", facts.gradNorm);
      if (session.plan.hasOrthogonality())
        line.add("orthogonality", facts.orthogonality);
      if (session.plan.hasPull())
        line.add("l2_sp", facts.pull);
      line.add("epoch", stepper.epochs());
      line.add("num_input_tokens_seen", state.tokensSeen);
      line.add("tokens_per_second", std::round(tokensPerSecond * 10) / 10);
      line.add("peak_memory_bytes", int64_t(memory.peak));
      if (ranks.isOn())
        line.add("resident_bytes", int64_t(memory.resident));
      if (memory.ofGpu)
        line.add("peak_host_memory_bytes", int64_t(peakMemoryBytes()));
      keeper.write(line);
    }
    progress.update({state.step, total, facts.loss, tokensPerSecond, memory.peak});
  }

  /// Where an evaluation is due and not done yet.
  Result<void> evaluate() {
    const bool due = state.step == 0 || state.step == total ||
                     (run.evalSteps > 0 && state.step % run.evalSteps == 0);
    const bool done = !state.evals.empty() && state.evals.back().first == state.step;
    if (corpus.eval.empty() || !due || done)
      return {};
    LORAC_TRY_ASSIGN(std::optional<double> measured, evalLoss(session, corpus, corpus.eval));
    evalStopped = !measured;
    if (evalStopped)
      return {};
    const double loss = *measured;
    if (!std::isfinite(loss))
      return Error{fmt::format("step {}: the loss on held-out samples is {}; lower "
                               "optimizer.learning_rate or look at the data",
                               state.step, formats::numberText(loss))};
    state.evals.emplace_back(state.step, loss);
    ranks.observe(state.step, loss);
    MetricsLine line;
    line.add("step", state.step);
    line.add("eval_loss", loss);
    line.add("epoch", stepper.epochs());
    keeper.write(line);
    progress.say(fmt::format("step {}: loss on held-out samples {:.4f}", state.step, loss));
    return {};
  }

  /// Whether early stopping ends the run here, by the evaluations that there are.
  bool hasStalled() const {
    if (!run.earlyStopping)
      return false;
    EarlyStopping stopping(*run.earlyStopping);
    for (const auto &[step, loss] : state.evals)
      if (step > 0) // before the first update nothing is trained
        stopping.observe(loss);
    return stopping.isOver();
  }

  Result<void> saveWhereDue() {
    const bool isLast = state.step == total || stopSignal() != 0;
    const bool isDue = (run.saveSteps > 0 && state.step % run.saveSteps == 0) ||
                       (run.loadBest && RunKeeper::isBest(state));
    return isLast || isDue ? keeper.trySave(state, !isLast) : Result<void>();
  }

  void tell(const RankNews &news) {
    if (!news.words.empty())
      progress.say(news.words);
    if (news.programs)
      keeper.notePrograms();
    if (news.line)
      keeper.write(*news.line);
  }

  Result<TrainOutcome> finish() {
    const int signal = state.step < total || evalStopped ? stopSignal() : 0;
    if (!signal || !keeper.isSaved(state.step))
      LORAC_TRY(keeper.saveLast(state, signal == 0));
    keeper.finish();
    if (!options.profileFile.empty())
      LORAC_TRY(writeProfile(options.profileFile, session, corpus, timed.seconds, timed.tokens));
    sayMemory();
    if (signal)
      progress.say(fmt::format("stopped at step {} of {}; checkpoint in '{}'\ngo on with: {}",
                               state.step, total, checkpointPath(keeper.path(), state.step),
                               options.resumeCommand));
    else
      sayDone();
    return TrainOutcome{state.step, signal};
  }

  void sayDone() {
    if (hasStalled() && state.step < total)
      progress.say(fmt::format("step {}: the loss on held-out samples has made no progress in {} "
                               "evaluations: the run ends",
                               state.step, run.earlyStopping->patience));
    const int64_t best = keeper.publishedStep();
    progress.say(fmt::format(
        "done: step {}, loss {:.4f} -> {:.4f}; adapter {}in '{}'", state.step, state.firstLoss,
        state.lastLoss,
        best == state.step ? "" : fmt::format("of step {}, the best on held-out samples, ", best),
        keeper.path()));
  }

  void sayMemory() {
    const MemoryUse memory = device().memory();
    if (memory.ofGpu)
      progress.say(fmt::format("memory of the GPU: {} planned, {} taken; of the host {} at most "
                               "resident",
                               formatBytes(memory.planned), formatBytes(memory.peak),
                               formatBytes(peakMemoryBytes())));
    else
      progress.say(fmt::format("memory: {} planned, {} at most resident",
                               formatBytes(memory.planned), formatBytes(memory.peak)));
    if (!memory.ofGpu && !session.memory.lines.empty())
      progress.say(residentTable(session, corpus).text());
  }

  Session &session;
  const RunConfig &run;
  const Corpus &corpus;
  const TrainOptions &options;
  Progress &progress;
  Clock &clock;
  Stepper &stepper;
  RankDirector &ranks;
  RunKeeper keeper;
  const int64_t total;
  TrainerState state;
  bool evalStopped = false; ///< the evaluation that was due is left to the resumed run
  struct {
    double seconds = 0;
    int64_t tokens = 0;
  } timed; ///< steps
};

} // namespace

Result<TrainOutcome> train(const TrainInput &in) {
  Session &session = in.session;
  const int64_t rows = in.corpus.batchRows;
  if (session.plan.maxSegments < session.run.batchSize && rows == 0)
    return Error{
        "plan.json: 'limits.max_segments' is below train.batch_size; compile the spec again",
        Exit::ForeignFile};
  if (rows > 0 && rows != session.run.batchSize)
    in.progress.warn(fmt::format("batches have {} rows, as the file of tokens has them, and not "
                                 "train.batch_size = {}",
                                 rows, session.run.batchSize));
  Stepper stepper(session, in.corpus);
  LORAC_TRY_ASSIGN(RankDirector ranks,
                   RankDirector::create(session, in.options.recompiler, stepper.total(), in.clock));
  return Loop(in, stepper, ranks).go();
}

} // namespace lorac::train
