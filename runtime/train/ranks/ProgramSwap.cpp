#include "runtime/train/ranks/ProgramSwap.h"

#include "runtime/train/Signals.h"

#include <chrono>
#include <filesystem>
#include <malloc.h>

namespace lorac::train {

namespace {

constexpr std::chrono::milliseconds glance{50}; // between looks at a signal

NamedRanks named(const Plan &plan, const TripletSets &stored) {
  NamedRanks ranks;
  const std::vector<std::string> names = plan.ranks->names();
  for (size_t m = 0; m < names.size(); ++m)
    ranks.emplace_back(names[m], int64_t(stored[m].size()));
  return ranks;
}

/// Ranks that a plan's programs store, by the order of its modules.
NamedRanks ranksOf(const Plan &plan) {
  NamedRanks ranks;
  for (const std::string &name : plan.ranks->names())
    ranks.emplace_back(name, 0);
  for (const PlanParam &param : plan.params)
    for (auto &[module, rank] : ranks)
      if (module == param.module)
        rank = param.rank;
  return ranks;
}

} // namespace

std::string ProgramSwap::decide(int64_t step, RankTraining &ranks, const Session &session) {
  RankAllocator &allocator = ranks.allocator();
  const RebuildPolicy::Decision decision =
      policy.decide(session.plan, allocator.storedRanks(), allocator.keptRanks(), step,
                    ranks.nextAllocation(step), total);
  if (!build) // asked for by a run that had a compiler, resumed without one
    allocator.cancelRequest();
  if (allocator.requested())
    return "the program asked for at an earlier allocation is still to come";
  if (!decision.rebuild)
    return decision.why;
  if (!recompiler) {
    if (now.records.empty())
      now.records.push_back({.step = step + 1,
                             .failure = "--allow-fixed-ranks: no lorac to build "
                                        "programs with"});
    return "the program stays (--allow-fixed-ranks): the ranks fall, memory and time do not";
  }
  allocator.request();
  now.swapStep = step + 1 + RebuildPolicy::swapAfter;
  now.live = allocator.liveRanks();
  build = recompiler->start(named(session.plan, allocator.state().next));
  return decision.why;
}

Result<BuiltProgram> ProgramSwap::wait(bool &stopped) {
  while (!build->ended(glance))
    if (stopSignal()) {
      stopped = true;
      return Error{"stopped"};
    }
  return build->take();
}

const ProgramRecord *ProgramSwap::swap(int64_t stepsDone, RankTraining &ranks, Session &session) {
  RankAllocator &allocator = ranks.allocator();
  ProgramRecord record{.step = stepsDone, .ranksBefore = totalRank(allocator.storedRanks())};
  const MemoryUse before = session.backend->device().memory();
  record.plannedBefore = before.planned, record.residentBefore = before.resident;
  const double begin = clock.now();
  bool stopped = false;
  Result<BuiltProgram> built = wait(stopped);
  if (stopped)
    return nullptr;
  record.waitedMs = 1000 * (clock.now() - begin);
  build.reset();

  Result<void> adopted;
  const RankState asked = allocator.state();
  if (built) {
    record.kernelsBuilt = built->kernelsBuilt, record.kernelsFromCache = built->kernelsFromCache;
    record.fromCache = built->fromCache;
    record.hiddenMs = std::max(0.0, 1000 * built->seconds - record.waitedMs);
    const TripletSets kept = allocator.takeOver();
    adopted = session.adopt(built->program, &kept);
    if (!adopted && adopted.error().code == Exit::DoesNotFit)
      end = adopted.error();
  }
  if (!built || !adopted) {
    if (built) {
      (void)allocator.restore(asked); // its own state
      std::error_code ignored;
      if (!end) // it is at fault, not the room for it: the next run has it made again
        std::filesystem::remove(built->path, ignored);
    }
    allocator.cancelRequest();
    record.failure = built ? adopted.error().message : built.error().message;
  } else {
    policy.tookOver(stepsDone);
    built->program = Payload();
    malloc_trim(0); // both plans as JSON, and the new program as a file, were on the heap
  }
  const MemoryUse after = session.backend->device().memory();
  record.ranksAfter = totalRank(allocator.storedRanks());
  record.plannedAfter = after.planned, record.residentAfter = after.resident;
  now.records.push_back(record);
  return &now.records.back();
}

Result<void> ProgramSwap::resume(const RankState &ranks, const ProgramSwapState &state,
                                 Session &session) {
  now = state;
  policy.restore(state.rebuild);
  build.reset();
  const NamedRanks stored = named(session.plan, ranks.stored);
  if (stored != ranksOf(session.plan)) {
    if (!recompiler)
      return Error{"the checkpoint's program has " + std::to_string(ranks.stored.size()) +
                       " modules of other ranks, and there is no lorac to build it with; name one "
                       "by --lorac",
                   Exit::Refused};
    build = recompiler->start(stored);
    bool stopped = false;
    Result<BuiltProgram> built = wait(stopped);
    build.reset();
    if (stopped)
      return Error{"stopped while the checkpoint's program was built; the checkpoint stands",
                   Exit(128 + stopSignal())};
    if (!built)
      return Error{"the checkpoint's program cannot be built again: " + built.error().message,
                   built.error().code};
    LORAC_TRY(session.adopt(built->program, nullptr));
    if (stored != ranksOf(session.plan))
      return Error{"the checkpoint's program was built with other ranks than its triplets",
                   Exit::ForeignFile};
  }
  if (ranks.requested && recompiler)
    build = recompiler->start(named(session.plan, ranks.next));
  return {};
}

ProgramSwapState ProgramSwap::state() const {
  ProgramSwapState out = now;
  out.rebuild = policy.state();
  return out;
}

} // namespace lorac::train
