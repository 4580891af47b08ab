#include "runtime/train/CheckpointRanks.h"

namespace lorac::train {

namespace {

constexpr int64_t most = int64_t(1) << 50;

Json toJson(const RankState &ranks) {
  Json json;
  json["triplets"] = Json::array(); // by module, by first index: 0 alive, 1 masked, 2 dead
  for (const std::vector<Triplet> &module : ranks.triplets) {
    Json list = Json::array();
    for (Triplet triplet : module)
      list.push_back(int(triplet));
    json["triplets"].push_back(std::move(list));
  }
  json["stored"] = ranks.stored;
  json["requested"] = ranks.requested;
  json["next"] = ranks.next;
  return json;
}

RankState setsFromJson(const Fields &in) {
  constexpr int64_t most = 1 << 20;
  RankState ranks;
  in.at("triplets").forEach([&](const Fields &module) {
    std::vector<Triplet> &triplets = ranks.triplets.emplace_back();
    module.forEach(
        [&](const Fields &triplet) { triplets.push_back(Triplet(triplet.asInteger(0, 2))); });
  });
  auto readSets = [&](const char *key, TripletSets &sets) {
    in.at(key).forEach([&](const Fields &module) {
      std::vector<int32_t> &set = sets.emplace_back();
      module.forEach(
          [&](const Fields &index) { set.push_back(int32_t(index.asInteger(0, most))); });
    });
  };
  readSets("stored", ranks.stored);
  ranks.requested = in.truthOr("requested", false);
  readSets("next", ranks.next);
  return ranks;
}

ProgramRecord recordFromJson(const Fields &in) {
  ProgramRecord record;
  record.step = in.integer("step", 0, most);
  record.failure = in.textOr("failure", "");
  record.ranksBefore = in.integer("ranks_before", 0, most);
  record.ranksAfter = in.integer("ranks_after", 0, most);
  record.kernelsBuilt = int(in.integer("kernels_built", 0, 1 << 30));
  record.kernelsFromCache = int(in.integer("kernels_from_cache", 0, 1 << 30));
  record.fromCache = in.truthOr("program_from_cache", false);
  record.hiddenMs = in.number("hidden_ms");
  record.waitedMs = in.number("waited_ms");
  record.plannedBefore = uint64_t(in.integer("planned_bytes_before", 0));
  record.plannedAfter = uint64_t(in.integer("planned_bytes_after", 0));
  record.residentBefore = uint64_t(in.integer("resident_bytes_before", 0));
  record.residentAfter = uint64_t(in.integer("resident_bytes_after", 0));
  return record;
}

Json toJson(const PruningPaceState &pace) {
  return {{"evaluations", pace.evaluations}, {"best", pace.best},
          {"stalled", pace.stalled},         {"pace", pace.pace},
          {"since_step", pace.sinceStep},    {"since_progress", pace.sinceProgress}};
}

PruningPaceState paceFromJson(const Fields &in) {
  PruningPaceState pace;
  pace.evaluations = in.integer("evaluations", 0, most);
  pace.best = in.number("best");
  pace.stalled = in.integer("stalled", 0, most);
  pace.pace = in.number("pace");
  pace.sinceStep = in.integer("since_step", 0, most);
  pace.sinceProgress = in.number("since_progress");
  return pace;
}

} // namespace

Json toJson(const ProgramRecord &record) {
  Json json = {{"step", record.step}};
  if (!record.failure.empty())
    json["failure"] = record.failure;
  json["ranks_before"] = record.ranksBefore;
  json["ranks_after"] = record.ranksAfter;
  json["kernels_built"] = record.kernelsBuilt;
  json["kernels_from_cache"] = record.kernelsFromCache;
  json["program_from_cache"] = record.fromCache;
  json["hidden_ms"] = record.hiddenMs;
  json["waited_ms"] = record.waitedMs;
  json["planned_bytes_before"] = record.plannedBefore;
  json["planned_bytes_after"] = record.plannedAfter;
  json["resident_bytes_before"] = record.residentBefore;
  json["resident_bytes_after"] = record.residentAfter;
  return json;
}

Json ranksToJson(const CheckpointRanks &ranks) {
  Json json = toJson(ranks.sets);
  if (ranks.pace)
    json["pace"] = toJson(*ranks.pace);
  json["swap_step"] = ranks.swap.swapStep;
  json["live_at_request"] = ranks.swap.live;
  json["rebuild"] = {{"lost_seconds", ranks.swap.rebuild.lost},
                     {"seconds_a_step", ranks.swap.rebuild.aStep},
                     {"counted_to", ranks.swap.rebuild.countedTo}};
  json["programs"] = Json::array();
  for (const ProgramRecord &record : ranks.swap.records)
    json["programs"].push_back(toJson(record));
  return json;
}

CheckpointRanks ranksFromJson(const Fields &in) {
  CheckpointRanks ranks;
  ranks.sets = setsFromJson(in);
  if (in.has("pace"))
    ranks.pace = paceFromJson(in.at("pace"));
  ranks.swap.swapStep = in.integer("swap_step", 0, most);
  in.at("live_at_request").forEach([&](const Fields &rank) {
    ranks.swap.live.push_back(rank.asInteger(0, 1 << 20));
  });
  const Fields rebuild = in.at("rebuild");
  ranks.swap.rebuild = {rebuild.number("lost_seconds"), rebuild.number("seconds_a_step"),
                        rebuild.integer("counted_to", 0, most)};
  in.at("programs").forEach([&](const Fields &record) {
    ranks.swap.records.push_back(recordFromJson(record));
  });
  return ranks;
}

} // namespace lorac::train
