// AdaLoRA in the training loop: allocations, programs that take over, and what is told of them.
#include "runtime/train/JsonFields.h"
#include "runtime/train/Loop.h"
#include "runtime/train/StepScalars.h"
#include "runtime/train/ranks/RankHeatMap.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {

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
  const MemoryUse memory = session.backend->device().memory();
  line.add("resident_bytes", int64_t(memory.resident));
  line.add("planned_bytes", int64_t(memory.planned));
  write(line);
}

/// After the update of step `index` (from 0), at its learning rate.
Result<void> Loop::allocateRanks(int64_t index, double rate) {
  Result<std::optional<Allocation>> made = ranks->afterUpdate(
      *session.backend, stepScalars(session.plan.importanceScalars, groups, rate, state.updates),
      index);
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
  const ProgramRecord &record = swap->measured(session.backend->device().memory());
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

} // namespace lorac::train
