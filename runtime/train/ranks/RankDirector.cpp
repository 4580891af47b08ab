#include "runtime/train/ranks/RankDirector.h"

#include "runtime/train/CheckpointRanks.h"
#include "runtime/train/Progress.h"
#include "runtime/train/StepScalars.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

Result<RankDirector> RankDirector::create(Session &session, Recompiler *recompiler, int64_t total,
                                          const Clock &clock) {
  RankDirector director(session);
  const RunConfig &run = session.run;
  if (!run.adalora)
    return director;
  LORAC_TRY_ASSIGN(RankTraining training, RankTraining::create(session.plan, *run.adalora, total));
  director.training.emplace(std::move(training));
  if (run.adalora->prune != PruneMode::Mask)
    director.swap.emplace(
        recompiler,
        RebuildPolicy(run.adalora->rebuildAlways, session.plan.maxTokens * run.accumulation), total,
        clock);
  return director;
}

/// Live ranks and what is resident; with the allocation that made them, or with the program that
/// took over.
MetricsLine RankDirector::line(int64_t step, const RankPattern &live, const Allocation *made,
                               const ProgramRecord *program) const {
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
    pattern.emplace_back(modules()[m], live[m]);
  line.add("rank_pattern", pattern);
  const MemoryUse memory = session.backend->device().memory();
  line.add("resident_bytes", int64_t(memory.resident));
  line.add("planned_bytes", int64_t(memory.planned));
  return line;
}

RankNews RankDirector::begin() const {
  if (!training)
    return {};
  return {.line = line(0, training->allocator().liveRanks(), nullptr, nullptr)};
}

Result<RankNews> RankDirector::afterUpdate(const StepFacts &facts) {
  if (!training)
    return RankNews();
  const int64_t index = facts.step - 1;
  const std::vector<float> scalars =
      stepScalars(session.plan.importanceScalars, session.groups, facts.rate, facts.update);
  LORAC_TRY_ASSIGN(std::optional<Allocation> made,
                   training->afterUpdate(*session.backend, scalars, index));
  if (!made)
    return RankNews();
  const RankAllocator &allocator = training->allocator();
  const RankPattern live = allocator.liveRanks();
  const bool asked = allocator.requested();
  const std::string program = swap ? "; " + swap->decide(index, *training, session) : std::string();
  // With deltaT = 1 there are as many allocations as steps: those that change nothing pass in
  // silence, but for the last.
  if (live == lastLive && !made->anyDied() && allocator.requested() == asked &&
      training->nextAllocation(index) != 0)
    return RankNews();
  lastLive = live;
  return RankNews{
      .words = fmt::format("step {}: budget {}, {} of {} triplets live, {} of {} modules at rank "
                           "0{}",
                           facts.step, made->budget, totalRank(live), session.plan.ranks->initial,
                           std::count(live.begin(), live.end(), 0), live.size(), program),
      .line = line(facts.step, live, &*made, nullptr)};
}

Result<RankNews> RankDirector::takeProgram(int64_t stepsDone) {
  if (!swap || !swap->isDue(stepsDone))
    return RankNews();
  const ProgramRecord *record = swap->swap(stepsDone, *training, session);
  if (!record) // a signal
    return RankNews();
  if (swap->lost())
    return *swap->lost();
  if (!record->failure.empty())
    return RankNews{
        .words = fmt::format("warning: step {}: no smaller program: {}; the old one goes on, the "
                             "ranks are what they would be",
                             stepsDone, record->failure),
        .programs = true};
  isNew = true;
  // What died meanwhile would stay for good once the ranks stand.
  const RankAllocator &allocator = training->allocator();
  if (training->nextAllocation(stepsDone - 1) != 0 ||
      allocator.storedRanks() == allocator.keptRanks())
    return RankNews();
  return RankNews{.words = fmt::format("step {}: {}", stepsDone,
                                       swap->decide(stepsDone - 1, *training, session))};
}

RankNews RankDirector::reportProgram() {
  isNew = false;
  const ProgramRecord &record = swap->measured(session.backend->device().memory());
  return {.words = fmt::format(
              "step {}: program of {} ranks in place of {}: {}; built for {:.0f} ms beside the "
              "run, waited for {:.0f} ms; planned {} -> {}, resident {} -> {}",
              record.step, record.ranksAfter, record.ranksBefore,
              record.fromCache ? "from the cache"
                               : fmt::format("{} kernels built, {} from the cache",
                                             record.kernelsBuilt, record.kernelsFromCache),
              record.hiddenMs, record.waitedMs, formatBytes(record.plannedBefore),
              formatBytes(record.plannedAfter), formatBytes(record.residentBefore),
              formatBytes(record.residentAfter)),
          .programs = true,
          .line = line(record.step, swap->live(), nullptr, &record)};
}

void RankDirector::observe(int64_t stepsDone, double loss) {
  if (training && stepsDone > 0)
    training->observe(stepsDone - 1, loss);
}

Result<void> RankDirector::resumeProgram(const CheckpointRanks &found) {
  LORAC_TRY(training->restore(found.sets));
  return swap ? swap->resume(found.sets, found.swap, session) : Result<void>();
}

Result<void> RankDirector::resumePace(const CheckpointRanks &found, int64_t stepsDone) {
  if (found.pace)
    LORAC_TRY(training->restorePace(*found.pace));
  // An allocation that changes nothing is not told again by a run that goes on.
  if (const int64_t first = training->nextAllocation(0); first != 0 && first < stepsDone)
    lastLive = training->allocator().liveRanks();
  return {};
}

std::optional<CheckpointRanks> RankDirector::state() const {
  if (!training)
    return std::nullopt;
  CheckpointRanks out;
  out.sets = training->allocator().state();
  if (const PruningPaceState *pace = training->paceState())
    out.pace = *pace;
  if (swap)
    out.swap = swap->state();
  return out;
}

std::optional<TripletSets> RankDirector::livePlaces() const {
  if (!training)
    return std::nullopt;
  return training->allocator().livePlaces();
}

std::optional<std::string> RankDirector::programs() const {
  if (!swap)
    return std::nullopt;
  Json programs = Json::array();
  for (const ProgramRecord &record : swap->records())
    programs.push_back(toJson(record));
  return programs.dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace lorac::train
