#include "runtime/train/Session.h"

#include "runtime/formats/ModelSource.h"
#include "runtime/train/Limits.h"
#include "runtime/train/Signals.h"
#include "runtime/train/Weights.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

/// Whether the model is the one that the program was compiled for, wherever its files lie.
static Result<void> checkModel(const std::string &path, const RunConfig &run,
                               const std::function<void(const std::string &)> &say) {
  if (path.empty())
    return {};
  LORAC_TRY_ASSIGN(auto model, formats::ModelSource::open(path));
  for (const std::string &note : model->notes())
    say("warning: " + note);
  if (!run.identity)
    return {};
  if (Result<void> same = formats::checkIdentity(*model, *run.identity); !same)
    return Error{same.error().message + "; a spec must be compiled again for another model",
                 same.error().code};
  return {};
}

Result<std::unique_ptr<Session>>
Session::open(const Payload &payload, RunConfig run, const SessionOptions &options,
              const std::function<void(const std::string &)> &say) {
  for (const char *name : {"plan.json", "run.json"})
    if (!payload.has(name))
      return Error{std::string("this program carries no '") + name + "'; compile the spec again",
                   Exit::ForeignFile};
  std::unique_ptr<Session> session(new Session);
  LORAC_TRY_ASSIGN(session->plan, parsePlan(payload.file("plan.json")));
  session->run = std::move(run);
  session->groups = makeGroups(session->plan, session->run.loraPlusRatio);
  int threads = options.threads > 0        ? options.threads
                : session->run.threads > 0 ? int(session->run.threads)
                                           : availableThreads();
  session->pool = std::make_unique<ThreadPool>(threads);
  session->modelPath = options.model.empty() ? session->run.modelSource : options.model;
  LORAC_TRY(checkModel(session->modelPath, session->run, say));
  if (options.prepare) {
    // A model that does not fit is named before its data is read.
    if (!session->plan.onGpu())
      LORAC_TRY(checkCpu(session->plan));
    LORAC_TRY(openWeights(session->plan, session->modelPath, session->run.seed));
    LORAC_TRY(options.prepare(*session));
  }
  const uint64_t own = session->memory.ofBackend();
  const BackendInput input{payload,
                           session->plan,
                           *session->pool,
                           session->modelPath,
                           session->run.seed,
                           say,
                           session->memory.total() - std::min(own, session->memory.total())};
  LORAC_TRY_ASSIGN(session->backend, Backend::open(input, options.device));
  if (!session->plan.initialize.empty())
    LORAC_TRY(session->backend->run(Program::Initialize, {}));
  return session;
}

Result<void> Session::edit(const std::function<Result<void>(const TrainedFloats &)> &change) {
  LORAC_TRY_ASSIGN(TrainedFloats trained, backend->read());
  LORAC_TRY(change(trained));
  return backend->write();
}

/// Whether the weights that lie packed for one program are those that the other reads.
static bool sameWeights(const Plan &x, const Plan &y) {
  auto same = [](const PlanWeight &a, const PlanWeight &b) {
    return a.name == b.name && a.format == b.format && a.shape == b.shape &&
           std::equal(a.parts.begin(), a.parts.end(), b.parts.begin(), b.parts.end(),
                      [](const PlanPart &p, const PlanPart &q) {
                        return p.name == q.name && p.bytes == q.bytes;
                      });
  };
  return std::equal(x.weights.begin(), x.weights.end(), y.weights.begin(), y.weights.end(), same);
}

/// Whether what was trained has a place in the other program.
static bool sameTrained(const Plan &x, const Plan &y) {
  const std::vector<PlanRegion> ofX = x.trained(), ofY = y.trained();
  return std::equal(ofX.begin(), ofX.end(), ofY.begin(), ofY.end(),
                    [](const PlanRegion &a, const PlanRegion &b) {
                      return a.name == b.name && a.kind == b.kind && a.storage == b.storage;
                    }) &&
         x.ranks.has_value() == y.ranks.has_value() &&
         (!x.ranks || x.ranks->names() == y.ranks->names());
}

Result<void> Session::adopt(const Payload &program, const TripletSets *kept) {
  LORAC_TRY_ASSIGN(Plan next, parsePlan(program.file("plan.json")));
  const bool fits = next.device == plan.device && next.cpu == plan.cpu &&
                    next.compute == plan.compute && next.maxTokens == plan.maxTokens &&
                    next.maxSegments == plan.maxSegments && next.maxLength == plan.maxLength &&
                    next.ranks.has_value() == plan.ranks.has_value() && sameWeights(plan, next) &&
                    sameTrained(plan, next);
  if (!fits)
    return Error{"the new program is of another model or target", Exit::Bug};
  LORAC_TRY(backend->adopt(program, next, kept));
  groups = makeGroups(next, run.loraPlusRatio);
  plan = std::move(next); // what points at its launches still does: vectors move as they are
  return {};
}

Result<void> Session::execute(Program program, const MicroBatch &batch, float lossScale,
                              int64_t step, int64_t micro) {
  return backend->run(program, {batch.tokens(), batch.segments(), lossScale, uint32_t(run.seed),
                                uint32_t(step), uint32_t(micro)});
}

Result<double> Session::sumRowLoss(int64_t tokens) {
  LORAC_TRY_ASSIGN(const float *rows, backend->rowLoss(tokens));
  double sum = 0;
  for (int64_t i = 0; i < tokens; ++i)
    sum += double(rows[i]);
  return sum;
}

Result<const float *> Session::logits(int64_t begin, int64_t count) {
  return backend->logits(begin, {count, 1, 0, uint32_t(run.seed), 0, 0});
}

Result<std::optional<double>> evalLoss(Session &session, const Corpus &corpus,
                                       const std::vector<uint32_t> &pieces) {
  double sum = 0;
  int64_t labels = 0;
  MicroBatch batch;
  for (const std::vector<uint32_t> &group :
       evalBatches(corpus, pieces, session.plan.maxTokens, session.plan.maxSegments)) {
    if (stopSignal())
      return std::optional<double>();
    batch.clear();
    for (uint32_t index : group)
      batch.add(corpus, corpus.pieces[index]);
    Result<void> done = session.feed(batch);
    for (Program program : {Program::Hidden, Program::Loss})
      if (done)
        done = session.execute(program, batch);
    if (!done)
      return done.error();
    LORAC_TRY_ASSIGN(double loss, session.sumRowLoss(batch.tokens()));
    sum += loss;
    labels += batch.labels;
  }
  if (labels == 0)
    return Error{"the held-out samples have no label", Exit::Refused};
  return std::optional<double>(sum / double(labels));
}

} // namespace lorac::train
