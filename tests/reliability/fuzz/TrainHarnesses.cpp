// Readers of runtime/train: what a training binary carries, what a run left, and data.
#include "tests/reliability/fuzz/Harness.h"

#include "runtime/formats/Hash.h"
#include "runtime/train/Checkpoint.h"
#include "runtime/train/Data.h"
#include "runtime/train/JsonFields.h"
#include "runtime/train/Metrics.h"
#include "runtime/train/Payload.h"
#include "runtime/train/Plan.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/ranks/RankHeatMap.h"

namespace lorac::fuzz {

namespace {

using namespace train;

void readPayload(std::string_view bytes) {
  writeScratch("train", bytes);
  Result<Payload> payload = Payload::read(scratch("train"));
  if (payload)
    for (const std::string &name : payload->names())
      (void)payload->file(name);
}

void readPlan(std::string_view bytes) {
  Result<Plan> plan = parsePlan(bytes);
  if (!plan)
    return;
  (void)plan->weightBytes();
  (void)plan->spans();
  (void)plan->tripletCount();
}

void readRun(std::string_view bytes) {
  if (Result<RunConfig> run = parseRunConfig(bytes))
    (void)fingerprint(*run);
}

/// trainer_state.json of a checkpoint, by its own hash and those of three files that are empty.
void readCheckpointState(std::string_view bytes) {
  for (const char *name :
       {"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"})
    writeScratch(std::string("checkpoint-1/") + name, "");
  writeScratch("checkpoint-1/trainer_state.json", bytes);
  (void)readCheckpointRanks(scratch("checkpoint-1"));
}

/// Changes what it says, and writes the hashes that such a state has.
std::string changeCheckpointState(const std::string &bytes, Draw &draw) {
  const std::string changed = changeJson(bytes, draw);
  Json json = Json::parse(changed, nullptr, false);
  if (!json.is_object())
    return changed;
  json.erase("hash");
  json["files"] = Json::object();
  for (const char *name :
       {"adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors"})
    json["files"][name] = formats::hashHex("");
  json["hash"] = formats::hashHex(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  return json.dump(1, ' ', false, Json::error_handler_t::replace);
}

void readMetrics(std::string_view bytes) {
  writeScratch("metrics.jsonl", bytes);
  MetricsLine line;
  line.add("step", int64_t(3));
  line.add("loss", 0.5f);
  if (Result<MetricsFile> file = MetricsFile::openAtStep(scratch("metrics.jsonl"), 2))
    (void)file->write(line);
  writeScratch("metrics.jsonl", bytes);
  if (Result<MetricsFile> file = MetricsFile::open(scratch("metrics.jsonl"), bytes.size() / 2))
    (void)file->write(line);
}

void readRanks(std::string_view bytes) {
  writeScratch("ranks.jsonl", bytes);
  const std::vector<std::string> modules = {"model.layers.0.self_attn.q_proj",
                                            "model.layers.0.mlp.up_proj",
                                            "model.layers.1.self_attn.q_proj"};
  if (Result<RankHistory> history = readRankHistory(scratch("ranks.jsonl"), modules))
    (void)rankHeatMap(*history);
}

template <char kind>
void readData(std::string_view bytes) {
  DataConfig table;
  table.name = "data";
  table.format = kind == 'j' ? "jsonl" : kind == 't' ? "text" : "tokens";
  table.separator = "\n%\n";
  table.evalFraction = kind == 's' ? 0 : 0.1;
  table.overlong = "split";
  table.paths = {scratch("data")};
  writeScratch("data", bytes);
  TextEncoder encoder;
  encoder.eos = 0;
  encoder.encode = [](std::string_view text, std::vector<int32_t> &ids) -> Result<void> {
    for (const char c : text)
      ids.push_back(uint8_t(c));
    return {};
  };
  (void)loadCorpus({table}, encoder, {512, 32, 128, 7});
}

} // namespace

std::vector<Harness> trainHarnesses() {
  return {{"payload", readPayload, changePayload},
          {"plan", readPlan, changeJson},
          {"run", readRun, changeJson},
          {"checkpoint", readCheckpointState, changeCheckpointState},
          {"metrics", readMetrics, changeJson},
          {"rank-history", readRanks, changeJson},
          {"jsonl", readData<'j'>, changeJson},
          {"text", readData<'t'>},
          {"tokens", readData<'s'>, changeSafetensors}};
}

} // namespace lorac::fuzz
