#include "runtime/train/ResidentTable.h"

#include "runtime/train/Arena.h"
#include "runtime/train/Progress.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::train {

ResidentTable residentTable(const Session &session, const Corpus &corpus) {
  ResidentTable table;
  const MemoryPlan &plan = session.memory;
  table.planned = plan.host();
  table.most = peakMemoryBytes();
  uint64_t regions = 0, planned = 0;
  auto add = [&](std::string key, std::string words, uint64_t plannedBytes, uint64_t resident) {
    planned += plannedBytes, regions += resident;
    table.lines.push_back({std::move(key), std::move(words), plannedBytes, resident});
  };
  const MemoryUse memory = session.backend->device().memory();
  for (const MemoryRegion &region : memory.regions) {
    uint64_t lines = 0;
    for (const std::string &key : region.lines)
      lines += plan.bytesOf(key);
    add(region.key, region.words, lines, residentIn(region.data, region.bytes));
  }
  add("tokens", "tokens", plan.bytesOf("tokens"),
      corpus.ids.resident() + corpus.targets.resident());
  const uint64_t now = residentMemoryBytes(), inSteps = plan.during(InSteps, false);
  table.lines.push_back({"program", "program, batches, order of samples",
                         inSteps - std::min(inSteps, planned), now - std::min(now, regions)});
  return table;
}

std::string ResidentTable::text() const {
  auto mib = [](uint64_t bytes) { return fmt::format("{:.1f}", double(bytes) / (1 << 20)); };
  auto row = [&](const std::string &words, uint64_t planned, uint64_t resident) {
    return fmt::format("  {:<38} {:>9} {:>9} {:>+9.1f}\n", words, mib(planned), mib(resident),
                       (double(resident) - double(planned)) / (1 << 20));
  };
  std::string out =
      fmt::format("memory, MiB: {:<27} {:>9} {:>9} {:>9}\n", "", "planned", "resident", "more");
  for (const ResidentLine &line : lines)
    out += row(line.words, line.planned, line.resident);
  out += row("in all, at most", planned, most);
  out.pop_back();
  return out;
}

} // namespace lorac::train
