#include "runtime/train/Stepper.h"

#include "runtime/train/Signals.h"
#include "runtime/train/StepScalars.h"

namespace lorac::train {

static Schedule scheduleOf(const RunConfig &run, const BatchStream &stream) {
  const int64_t total = run.steps > 0 ? run.steps : stream.stepsOf(run.epochs);
  return {run.schedule,
          run.warmupRatio > 0 ? warmupFromRatio(run.warmupRatio, total) : run.warmupSteps, total};
}

Stepper::Stepper(Session &session, const Corpus &corpus)
    : session(session), run(session.run),
      stream(corpus, {run.batchSize, run.maxLength, session.plan.maxSegments, run.accumulation,
                      run.packing, run.seed}),
      schedule(scheduleOf(run, stream)) {}

/// Forward and backward of a window: gradients added up, and the mean loss of its labels. Nothing
/// where a signal came between two micro-batches: the next window zeroes the gradients.
Result<std::optional<double>> Stepper::windowLoss(const std::vector<MicroBatch> &window,
                                                  int64_t labels, int64_t step, bool mustEnd) {
  LORAC_TRY(session.backend->zeroGrads());
  double sum = 0;
  for (size_t micro = 0; micro < window.size(); ++micro) {
    if (stopSignal() && !mustEnd)
      return std::optional<double>();
    const MicroBatch &batch = window[micro];
    Result<void> ran = session.feed(batch);
    if (ran)
      ran = session.execute(Program::Train, batch, 1.0f / float(labels), step, int64_t(micro));
    if (!ran)
      return ran.error();
    LORAC_TRY_ASSIGN(double rows, session.sumRowLoss(batch.tokens()));
    sum += rows;
  }
  return std::optional<double>(sum / double(labels));
}

Result<std::optional<StepFacts>> Stepper::step(TrainerState &state, bool mustEnd) {
  const std::vector<MicroBatch> window = stream.nextWindow();
  StepFacts facts{.step = state.step + 1,
                  .update = state.updates,
                  .rate = run.learningRate * schedule.factor(state.step)};
  for (const MicroBatch &batch : window) {
    facts.labels += batch.labels;
    facts.tokens += batch.tokens();
  }
  if (!facts.isSkipped()) {
    LORAC_TRY_ASSIGN(std::optional<double> loss,
                     windowLoss(window, facts.labels, state.step, mustEnd));
    if (!loss)
      return std::optional<StepFacts>();
    LORAC_TRY_ASSIGN(Backend::Terms terms, session.backend->regularize());
    LORAC_TRY_ASSIGN(float norm, session.backend->gradNorm(run.maxGradNorm));
    facts.loss = *loss + run.l2SpWeight * terms.pull + run.orthRegWeight * terms.orthogonality;
    facts.orthogonality = terms.orthogonality;
    facts.pull = terms.pull;
    facts.gradNorm = norm;
    if (!facts.isFinite())
      return std::optional(facts);
    facts.zeroNorms = zeroNorms = norm == 0 ? zeroNorms + 1 : 0;
    facts.update = state.updates + 1;
    LORAC_TRY(session.backend->update(
        stepScalars(session.plan.updateScalars, session.groups, facts.rate, facts.update)));
    state.updates = facts.update;
    if (state.updates == 1)
      state.firstLoss = facts.loss;
    state.lastLoss = facts.loss;
  }
  state.step = facts.step;
  state.tokensSeen += facts.tokens;
  state.position = stream.position();
  return std::optional(facts);
}

} // namespace lorac::train
