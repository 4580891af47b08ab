#include "runtime/train/Session.h"

#include "runtime/train/Progress.h"
#include "runtime/train/Signals.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstring>

namespace lorac::train {

Result<std::unique_ptr<Session>>
Session::open(const Payload &payload, RunConfig run, const SessionOptions &options,
              const std::function<void(const std::string &)> &say) {
  for (const char *name : {"plan.json", "module.so", "run.json"})
    if (!payload.has(name))
      return Error{std::string("this program carries no '") + name + "'; compile the spec again",
                   Exit::ForeignFile};
  std::unique_ptr<Session> session(new Session);
  Result<Plan> plan = parsePlan(payload.file("plan.json"));
  if (!plan)
    return plan.error();
  session->plan = std::move(*plan);
  session->run = std::move(run);
  if (Result<void> cpu = checkCpu(session->plan); !cpu)
    return cpu.error();
  Result<Module> module = Module::load(payload.file("module.so"));
  if (!module)
    return module.error();

  int threads = options.threads > 0        ? options.threads
                : session->run.threads > 0 ? int(session->run.threads)
                                           : availableThreads();
  session->pool = std::make_unique<ThreadPool>(threads);
  session->modelPath = options.model.empty() ? session->run.modelSource : options.model;

  auto begin = std::chrono::steady_clock::now();
  Result<WeightStore> weights =
      WeightStore::load(session->plan, session->modelPath, session->run.seed, *session->pool);
  if (!weights)
    return weights.error();
  session->weights = std::move(*weights);
  double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  Result<Arena> arena = Arena::allocate(uint64_t(session->plan.arenaBytes), "the arena");
  if (!arena)
    return arena.error();
  session->arena = std::move(*arena);
  for (const PlanTable &table : session->plan.tables)
    fillRopeTable(table, session->arena.at<float>(table.offset));
  Session *self = session.get();
  Result<Executor> executor = Executor::create(
      session->plan, *module, session->arena,
      [self](int weight, int part) { return self->weights.part(weight, part); }, *session->pool);
  if (!executor)
    return executor.error();
  session->executor = std::make_unique<Executor>(std::move(*executor));

  say(fmt::format("model: {} ({} weights packed in {:.1f} s)",
                  session->modelPath.empty() ? "weights drawn from the seed" : session->modelPath,
                  session->plan.weights.size(), seconds));
  say(fmt::format("memory planned: weights {}, arena {}, scratch {} x {}; {} in all",
                  formatBytes(session->weights.bytes()),
                  formatBytes(uint64_t(session->plan.arenaBytes)), threads,
                  formatBytes(uint64_t(session->plan.scratchBytes)),
                  formatBytes(session->plannedBytes())));
  return session;
}

uint64_t Session::plannedBytes() const {
  return weights.bytes() + uint64_t(plan.arenaBytes) +
         uint64_t(plan.scratchBytes) * uint64_t(pool->threads());
}

void Session::feed(const MicroBatch &batch) {
  auto put = [&](int64_t offset, const std::vector<int32_t> &values) {
    std::memcpy(arena.at<int32_t>(offset), values.data(), values.size() * sizeof(int32_t));
  };
  put(plan.io.ids, batch.ids);
  put(plan.io.positions, batch.positions);
  put(plan.io.labels, batch.targets);
  put(plan.io.segmentStarts, batch.segmentStarts);
}

void Session::execute(Program program, const MicroBatch &batch, float lossScale, int64_t step,
                      int64_t micro) {
  executor->run(program, {batch.tokens(), batch.segments(), lossScale, uint32_t(run.seed),
                          uint32_t(step), uint32_t(micro)});
}

double Session::sumRowLoss(int64_t tokens) const {
  const float *rows = rowLoss();
  double sum = 0;
  for (int64_t i = 0; i < tokens; ++i)
    sum += double(rows[i]);
  return sum;
}

const float *Session::logits(int64_t begin, int64_t count) {
  int64_t ld = Plan::leadingDim(plan.hiddenSize);
  const float *hidden = arena.at<float>(plan.io.hidden) + begin * ld;
  std::memmove(arena.at<float>(plan.io.headIn), hidden, size_t(count * ld) * sizeof(float));
  executor->run(Program::Head, {count, 1, 0, uint32_t(run.seed), 0, 0});
  return arena.at<float>(plan.io.logits);
}

std::optional<double> evalLoss(Session &session, const Corpus &corpus,
                               const std::vector<uint32_t> &pieces) {
  double sum = 0;
  int64_t labels = 0;
  MicroBatch batch;
  for (const std::vector<uint32_t> &group :
       evalBatches(corpus, pieces, session.plan.maxTokens, session.plan.maxSegments)) {
    if (stopSignal())
      return std::nullopt;
    batch.clear();
    for (uint32_t index : group)
      batch.add(corpus, corpus.pieces[index]);
    session.feed(batch);
    session.execute(Program::Hidden, batch);
    session.execute(Program::Loss, batch);
    sum += session.sumRowLoss(batch.tokens());
    labels += batch.labels;
  }
  return labels ? sum / double(labels) : NAN;
}

} // namespace lorac::train
