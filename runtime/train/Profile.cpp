#include "runtime/train/Profile.h"

#include "runtime/formats/DurableFile.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/ResidentTable.h"

#include <algorithm>
#include <map>

namespace lorac::train {

Result<void> writeProfile(const std::string &path, const Session &session, const Corpus &corpus,
                          double seconds, int64_t tokens) {
  struct Row {
    LaunchCount sum;
    int64_t launches = 0;
  };
  std::map<std::pair<int, std::string>, Row> rows;
  for (const LaunchCount &count : session.backend->device().profile()) {
    if (count.calls == 0)
      continue;
    Row &row = rows[{int(count.program), count.kernel->name}];
    ++row.launches;
    row.sum.program = count.program;
    row.sum.kernel = count.kernel;
    row.sum.calls += count.calls;
    row.sum.seconds += count.seconds;
    row.sum.flops += count.flops;
    row.sum.bytes += count.bytes;
  }
  std::vector<Row> sorted;
  double inKernels = 0;
  for (auto &[key, row] : rows) {
    sorted.push_back(row);
    if (row.sum.program == Program::Train)
      inKernels += row.sum.seconds;
  }
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Row &a, const Row &b) { return a.sum.seconds > b.sum.seconds; });

  Json json;
  json["spec"] = session.plan.spec;
  json["steps_seconds"] = seconds;
  json["tokens"] = tokens;
  json["tokens_per_second"] = seconds > 0 ? double(tokens) / seconds : 0.0;
  json["threads"] = session.pool->threads();
  const MemoryUse memory = session.backend->device().memory();
  json["target"] = session.plan.device;
  json["planned_bytes"] = memory.planned;
  json["peak_memory_bytes"] = memory.peak;
  json["memory"] = Json::array();
  if (!memory.ofGpu && !session.memory.lines.empty())
    for (const ResidentLine &line : residentTable(session, corpus).lines)
      json["memory"].push_back(
          {{"key", line.key}, {"planned_bytes", line.planned}, {"resident_bytes", line.resident}});
  json["kernels_seconds"] = inKernels;
  json["kernels"] = Json::array();
  for (const Row &row : sorted)
    json["kernels"].push_back({{"program", programsOfPlan[int(row.sum.program)].name},
                               {"kernel", row.sum.kernel->name},
                               {"family", row.sum.kernel->family},
                               {"launches", row.launches},
                               {"calls", row.sum.calls},
                               {"seconds", row.sum.seconds},
                               {"flops", row.sum.flops},
                               {"bytes", row.sum.bytes}});
  return formats::writeDurably(path,
                               json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

} // namespace lorac::train
