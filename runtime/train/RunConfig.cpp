#include "runtime/train/RunConfig.h"

#include "runtime/train/JsonFields.h"

#include <algorithm>
#include <array>

namespace lorac::train {

namespace {

DataConfig readData(const Fields &in) {
  DataConfig data;
  data.name = in.text("name");
  Fields path = in.at("path");
  if (path.json().is_string())
    data.paths.push_back(path.asText());
  else
    path.forEach([&](const Fields &item) { data.paths.push_back(item.asText()); });
  data.format = in.text("format");
  data.formatStated = in.truthOr("format_stated", true);
  if (data.format != "text" && data.format != "jsonl" && data.format != "tokens")
    in.fail("has the format '" + data.format + "'; known: text, jsonl, tokens");
  data.separator = in.text("separator");
  data.evalFraction = in.number("eval_fraction");
  if (!(data.evalFraction >= 0 && data.evalFraction < 1))
    in.fail("has an eval_fraction outside of [0, 1)");
  data.overlong = in.text("overlong");
  if (data.overlong != "split" && data.overlong != "truncate" && data.overlong != "error")
    in.fail("has overlong = '" + data.overlong + "'; known: split, truncate, error");
  return data;
}

AdaLoraConfig readAdaLora(const Fields &in) {
  constexpr int64_t most = int64_t(1) << 40;
  AdaLoraConfig out;
  out.tinit = in.integer("tinit", 0, most);
  out.tfinal = in.integer("tfinal", 0, most);
  out.deltaT = in.integer("deltaT", 1, most);
  out.beta1 = in.number("beta1");
  out.beta2 = in.number("beta2");
  if (!(out.beta1 > 0 && out.beta1 < 1 && out.beta2 > 0 && out.beta2 < 1))
    in.fail("has a beta1 or beta2 outside of (0, 1)");
  out.orthRegWeight = in.number("orth_reg_weight");
  out.rebuildAlways = in.textOr("rebuild", "auto") == "always";
  if (Result<PruneMode> mode = parsePruneMode(in.text("prune")))
    out.prune = *mode;
  else
    in.fail("has " + mode.error().message);
  if (in.has("plateau")) {
    Fields plateau = in.at("plateau");
    out.plateau = PlateauSettings{plateau.integer("patience", 1), plateau.number("min_delta"),
                                  plateau.number("stretch")};
    if (!(out.plateau->minDelta >= 0 && out.plateau->stretch > 1))
      plateau.fail("has a min_delta below 0 or a stretch of at most 1");
  }
  return out;
}

void flatten(const Json &root, std::vector<std::pair<std::string, std::string>> &out) {
  std::vector<std::pair<std::string, const Json *>> todo = {{"", &root}};
  while (!todo.empty()) {
    auto [path, value] = todo.back();
    todo.pop_back();
    if (value->is_object() || value->is_array()) {
      size_t index = 0;
      for (auto it = value->begin(); it != value->end(); ++it, ++index)
        todo.emplace_back(value->is_object() ? (path.empty() ? it.key() : path + "." + it.key())
                                             : path + "[" + std::to_string(index) + "]",
                          &*it);
      if (value->empty())
        out.emplace_back(path, value->dump());
      continue;
    }
    out.emplace_back(path, value->dump(-1, ' ', false, nlohmann::detail::error_handler_t::replace));
  }
}

} // namespace

Result<RunConfig> parseRunConfig(std::string_view text) {
  Result<Json> json = parseJson(text, "run.json");
  if (!json)
    return json.error();
  std::string error;
  Fields root(*json, "", error);
  constexpr int64_t most = int64_t(1) << 40;
  RunConfig run;
  run.json = std::string(text);
  run.spec = root.textOr("spec", "");
  run.specDir = root.textOr("spec_dir", "");
  Fields model = root.maybe("model");
  run.modelSource = model.textOr("source", "");
  if (model.has("identity")) {
    Result<formats::ModelIdentity> identity =
        formats::parseModelIdentity(model.at("identity").json().dump());
    if (!identity)
      return Error{"run.json: " + identity.error().message, identity.error().code};
    run.identity = std::move(*identity);
  }

  Fields adapter = root.at("adapter");
  run.adapterMethod = adapter.text("method");
  run.initFrom = adapter.textOr("init_from", "");
  const bool falls = run.adapterMethod == "adalora";
  run.r = falls ? adapter.at("adalora").integer("init_r", 1) : adapter.integer("r", 1);
  run.loraAlpha = adapter.number("lora_alpha");
  run.loraDropout = adapter.number("lora_dropout");
  run.useRslora = adapter.truthOr("use_rslora", false);
  if (adapter.has("loraplus"))
    run.loraPlusRatio = adapter.at("loraplus").number("loraplus_lr_ratio");
  if (falls)
    run.adalora = readAdaLora(adapter.at("adalora"));

  Fields optimizer = root.at("optimizer");
  run.optimizer = optimizer.text("name");
  run.learningRate = optimizer.number("learning_rate");
  if (optimizer.has("betas")) {
    optimizer.at("betas").forEach(
        [&](const Fields &beta) { run.betas.push_back(beta.asNumber()); });
    if (run.betas.size() != 2)
      optimizer.fail("needs two betas");
  }
  run.eps = optimizer.numberOr("eps", 0);
  run.weightDecay = optimizer.number("weight_decay");
  run.maxGradNorm = optimizer.number("max_grad_norm");

  Fields schedule = root.at("schedule");
  std::string name = schedule.text("name");
  if (Result<ScheduleKind> kind = parseSchedule(name))
    run.schedule = *kind;
  else
    schedule.fail("has the name '" + name + "'; known: constant, linear, cosine");
  run.warmupSteps = schedule.integerOr("warmup_steps", 0);
  run.warmupRatio = schedule.numberOr("warmup_ratio", 0);

  Fields data = root.at("data");
  data.forEach([&](const Fields &in) { run.data.push_back(readData(in)); });
  if (run.data.empty())
    data.fail("is empty");

  Fields train = root.at("train");
  run.outputDir = train.text("output_dir");
  run.steps = train.has("steps") ? train.integer("steps", 0, most) : 0;
  run.epochs = train.numberOr("epochs", 0);
  if (run.steps == 0 && !(run.epochs > 0 && run.epochs < 1e9))
    train.fail("needs steps or epochs");
  run.batchSize = train.integer("batch_size", 1, 1 << 24);
  run.maxLength = train.integer("max_length", 2, 1 << 28);
  run.accumulation = train.has("gradient_accumulation_steps")
                         ? train.integer("gradient_accumulation_steps", 1, 1 << 24)
                         : 1;
  run.packing = train.truthOr("packing", false);
  run.seed = uint64_t(train.integerOr("seed", 0));
  run.evalSteps = std::max<int64_t>(0, train.integerOr("eval_steps", 0));
  run.saveSteps = std::max<int64_t>(0, train.integerOr("save_steps", 0));
  run.saveTotalLimit = std::max<int64_t>(0, train.integerOr("save_total_limit", 0));
  run.loggingSteps = std::max<int64_t>(1, train.integerOr("logging_steps", 1));
  run.threads = root.maybe("target").integerOr("threads", 0);
  run.memory = uint64_t(std::max<int64_t>(0, root.maybe("target").integerOr("memory", 0)));
  if (run.adalora && (run.steps == 0 || run.adalora->tinit >= run.steps - run.adalora->tfinal))
    train.fail("has no step in which AdaLoRA's ranks fall");
  if (!error.empty())
    return Error{"run.json: " + error + "; compile the spec again", Exit::ForeignFile};
  return run;
}

std::vector<std::pair<std::string, std::string>> fingerprint(const RunConfig &config) {
  constexpr std::string_view ignored[] = {
      "spec",
      "spec_dir",
      "model.source",
      "model.identity", // compared by itself
      "adapter.init_from",
      "train.output_dir",
      "train.eval_steps",
      "train.save_steps",
      "train.save_total_limit",
      "train.logging_steps",
      "train.steps",
      "train.epochs",
      "target",
  };
  std::vector<std::pair<std::string, std::string>> keys, kept;
  if (Result<Json> json = parseJson(config.json, "run.json"))
    flatten(*json, keys);
  for (auto &key : keys) {
    std::string_view path = key.first;
    // Where the held-out loss sets the pace of pruning, when it is measured counts too.
    if (path == "train.eval_steps" && config.adalora && config.adalora->plateau) {
      kept.push_back(std::move(key));
      continue;
    }
    bool isPath = path.rfind("data[", 0) == 0 && (path.find("].path") != std::string_view::npos ||
                                                  path.ends_with("].format_stated"));
    bool skip = std::any_of(std::begin(ignored), std::end(ignored), [&](std::string_view prefix) {
      return path.substr(0, prefix.size()) == prefix &&
             (path.size() == prefix.size() || path[prefix.size()] == '.' ||
              path[prefix.size()] == '[');
    });
    if (!isPath && !skip)
      kept.push_back(std::move(key));
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

} // namespace lorac::train
