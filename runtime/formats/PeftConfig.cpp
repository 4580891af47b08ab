#include "runtime/formats/PeftConfig.h"

#include "runtime/formats/Checked.h"
#include "runtime/formats/JsonWalk.h"
#include "runtime/formats/MappedFile.h"
#include "runtime/formats/PeftTriplets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace lorac::formats {
namespace {

constexpr uint64_t longestConfig = 16 << 20;
constexpr int64_t latestStep = int64_t(1) << 53;

/// Keys that change the result when they are set to anything, and that this version does not know.
struct Unsupported {
  std::string_view key, what;
};
constexpr Unsupported switches[] = {{"use_qalora", "QALoRA"},
                                    {"use_bdlora", "BD-LoRA"},
                                    {"lora_bias", "a bias in lora_B"},
                                    {"fan_in_fan_out", "transposed weights"},
                                    {"modules_to_save", "modules trained as a whole"},
                                    {"trainable_token_indices", "trained token embeddings"},
                                    {"target_parameters", "adapted parameters"},
                                    {"layer_replication", "replicated layers"},
                                    {"alora_invocation_tokens", "aLoRA"},
                                    {"arrow_config", "Arrow"},
                                    {"kasa_config", "KaSA, which changes the base"},
                                    {"monteclora_config", "Monte Carlo LoRA"},
                                    {"megatron_config", "Megatron's parallel layers"}};

/// Keys that change nothing of the update: the tensors themselves say which modules have one, and
/// how they began no longer matters (init_lora_weights says when it does).
constexpr std::string_view harmlessKeys[] = {
    "bias", // only "none" comes so far
    "task_type",      "auto_mapping",     "peft_version",    "revision",
    "inference_mode", "target_modules",   "exclude_modules", "layers_to_transform",
    "layers_pattern", "megatron_core",    "loftq_config",    "eva_config",
    "corda_config",   "lora_ga_config",   "velora_config",   "qalora_group_size",
    "runtime_config", "enable_lora",      "merge_weights",   "ensure_weight_tying",
    "use_loraplus",   "loraplus_lr_ratio"};

/// Ways to begin that leave the base as it is.
constexpr std::string_view plainStarts[] = {"gaussian", "eva",  "orthogonal",
                                            "mica",     "true", "false"};
/// Ways to begin that take something out of the base, which then is no longer the plain one.
constexpr std::string_view changingStarts[] = {"pissa", "olora", "corda", "lora_ga", "loftq"};

/// AdaLoRA's own keys; null is the default.
struct WholeKey {
  std::string_view key;
  int64_t AdaLora::*field;
  int64_t least, most;
};
constexpr WholeKey wholeKeys[] = {{"init_r", &AdaLora::initR, 1, AdaLora::largestInitR},
                                  {"target_r", &AdaLora::targetR, 0, AdaLora::largestInitR},
                                  {"tinit", &AdaLora::tinit, 0, latestStep},
                                  {"tfinal", &AdaLora::tfinal, 0, latestStep},
                                  {"deltaT", &AdaLora::deltaT, 1, latestStep},
                                  {"total_step", &AdaLora::totalStep, 0, latestStep}};
struct RealKey {
  std::string_view key;
  double AdaLora::*field;
};
constexpr RealKey realKeys[] = {{"beta1", &AdaLora::beta1},
                                {"beta2", &AdaLora::beta2},
                                {"orth_reg_weight", &AdaLora::orthRegWeight}};

bool isAdaLoraKey(std::string_view key) {
  return std::any_of(std::begin(wholeKeys), std::end(wholeKeys),
                     [&](const WholeKey &known) { return known.key == key; }) ||
         std::any_of(std::begin(realKeys), std::end(realKeys),
                     [&](const RealKey &known) { return known.key == key; });
}

bool isNumber(const JsonEvent &event) {
  return event.kind == JsonEvent::Integer || event.kind == JsonEvent::Number;
}

/// The walk through the file. peft_type may come last, so what is wrong for one method only waits.
struct ConfigWalk {
  PeftConfig config;
  AdaLora adaLora;
  std::string peftType, wrongForLora, wrongForAdaLora, wrongKey;
  std::vector<std::pair<std::string, LiveRank>> ranks;

  std::string take(JsonPath path, const JsonEvent &event);
  void takeRank(JsonPath path, const JsonEvent &event);
  std::string takeAdaLora(const std::string &key, const JsonEvent &event);
  std::string takeStart(const JsonEvent &event);
  std::string finish();
  std::string finishAdaLora();
};

/// rank_pattern's values: whole numbers, and for AdaLoRA lists of truths. A list's entries are
/// shown before the list.
void ConfigWalk::takeRank(JsonPath path, const JsonEvent &event) {
  const std::string &key = path[1];
  const bool isWhole = path.size() == 2 && event.kind == JsonEvent::Integer;
  if (wrongForLora.empty() && (!isWhole || event.integer < 1))
    wrongForLora = fmt::format("'rank_pattern' gives '{}' no positive whole number", shown(key));
  if (isWhole && event.integer >= 0)
    ranks.emplace_back(key, LiveRank{std::nullopt, event.integer});
  else if (path.size() == 2 && event.kind == JsonEvent::Array) {
    if (event.count == 0)
      ranks.emplace_back(key, LiveRank{std::vector<bool>(), 0});
  } else if (path.size() == 3 && event.kind == JsonEvent::Bool) {
    if (path[2] == "0")
      ranks.emplace_back(key, LiveRank{std::vector<bool>(), 0});
    if (!ranks.empty() && ranks.back().second.alive) { // else the list began with something else
      ranks.back().second.alive->push_back(event.truth);
      ranks.back().second.count += event.truth;
    }
  } else if (wrongForAdaLora.empty())
    wrongForAdaLora = fmt::format(
        "'rank_pattern' gives '{}' neither a list of true and false nor a count", shown(key));
}

std::string ConfigWalk::takeAdaLora(const std::string &key, const JsonEvent &event) {
  if (event.kind == JsonEvent::Null)
    return "";
  for (const WholeKey &whole : wholeKeys)
    if (key == whole.key) {
      if (event.kind != JsonEvent::Integer || event.integer < whole.least ||
          event.integer > whole.most)
        return fmt::format("'{}' is no whole number from {} to {}", key, whole.least, whole.most);
      adaLora.*whole.field = event.integer;
    }
  for (const RealKey &real : realKeys)
    if (key == real.key) {
      if (!isNumber(event) || !std::isfinite(event.number))
        return fmt::format("'{}' is no number", key);
      adaLora.*real.field = event.number;
    }
  return "";
}

std::string ConfigWalk::take(JsonPath path, const JsonEvent &event) {
  if (path.empty())
    return event.kind == JsonEvent::Object ? "" : "no JSON object";
  const std::string &key = path[0];
  if (key == "rank_pattern" || key == "alpha_pattern") {
    if (path.size() == 1)
      return event.kind == JsonEvent::Object || event.kind == JsonEvent::Null
                 ? ""
                 : fmt::format("'{}' is no object", key);
    if (key == "rank_pattern") {
      takeRank(path, event);
      return "";
    }
    if (path.size() > 2 || !isNumber(event))
      return fmt::format("'{}' gives '{}' no number", key, shown(path[1]));
    config.alphas.emplace_back(path[1], event.number);
    return "";
  }
  if (path.size() > 1)
    return "";
  const bool off =
      event.kind == JsonEvent::Null || (event.kind == JsonEvent::Bool && !event.truth) ||
      ((event.kind == JsonEvent::Array || event.kind == JsonEvent::Object) && event.count == 0);
  for (const Unsupported &u : switches)
    if (key == u.key)
      return off ? "" : fmt::format("'{}' asks for {}, which is not in this version", key, u.what);
  if (key == "init_lora_weights")
    return takeStart(event);
  Adapter &adapter = config.adapter;
  if (key == "peft_type")
    peftType = event.text;
  else if (key == "bias" && event.text != "none")
    return fmt::format("'bias' is '{}'; only 'none' is in this version", shown(event.text));
  else if (key == "use_rslora" || key == "use_dora") {
    if (event.kind != JsonEvent::Bool && event.kind != JsonEvent::Null)
      return fmt::format("'{}' is neither true nor false", key);
    (key == "use_dora" ? adapter.useDora : adapter.useRslora) = event.truth;
  } else if (key == "base_model_name_or_path")
    adapter.baseModel = event.text;
  else if (key == "r") {
    if (event.kind != JsonEvent::Integer || event.integer < 1)
      return "'r' is no positive whole number";
    adapter.r = event.integer;
  } else if (key == "lora_alpha" || key == "lora_dropout") {
    if (!isNumber(event) || !std::isfinite(event.number))
      return fmt::format("'{}' is no number", key);
    (key == "lora_alpha" ? adapter.alpha : adapter.dropout) = event.number;
  } else if (isAdaLoraKey(key)) {
    if (wrongForAdaLora.empty())
      wrongForAdaLora = takeAdaLora(key, event);
  } else if (wrongKey.empty() && !off &&
             std::find(std::begin(harmlessKeys), std::end(harmlessKeys), key) ==
                 std::end(harmlessKeys))
    wrongKey =
        fmt::format("it has the key '{}', which this version does not know: it may change what "
                    "the adapter computes; remove it if it does not",
                    shown(key));
  return "";
}

std::string ConfigWalk::takeStart(const JsonEvent &event) {
  if (event.kind != JsonEvent::String)
    return event.kind == JsonEvent::Bool || event.kind == JsonEvent::Null
               ? ""
               : "'init_lora_weights' is neither a truth nor a word";
  const std::string_view start = event.text;
  if (std::find(std::begin(plainStarts), std::end(plainStarts), start) != std::end(plainStarts))
    return "";
  for (const std::string_view changing : changingStarts)
    if (start.starts_with(changing))
      return fmt::format(
          "'init_lora_weights' is '{}': this adapter belongs to a base that this way to begin has "
          "changed, and computes something else over the plain one; save it as plain LoRA by "
          "PEFT's save_pretrained with path_initial_model_for_weight_conversion",
          shown(start));
  return fmt::format("'init_lora_weights' is '{}', which this version does not know", shown(start));
}

/// PEFT's rule `(.*\.)?(KEY)$` for keys that are paths: dots match any character. Other regular
/// expressions are refused by `isPath` first: a foreign file brings no pattern of its own.
bool isPath(std::string_view key) {
  return key.find_first_of("*+?()[]{}|^$\\") == std::string_view::npos && !key.empty();
}
bool matches(std::string_view key, std::string_view module) {
  if (module.size() < key.size() ||
      (module.size() > key.size() && module[module.size() - key.size() - 1] != '.'))
    return false;
  const std::string_view tail = module.substr(module.size() - key.size());
  return std::equal(key.begin(), key.end(), tail.begin(),
                    [](char k, char m) { return k == '.' || k == m; });
}
double patternValue(const std::vector<std::pair<std::string, double>> &patterns,
                    const std::string &module, double otherwise) {
  for (const auto &[key, value] : patterns)
    if (matches(key, module))
      return value;
  return otherwise;
}

std::string ConfigWalk::finishAdaLora() {
  if (!wrongForAdaLora.empty())
    return wrongForAdaLora;
  // PEFT takes the rank for an alpha that is not positive, and of a pruned module the pruned one.
  if (!(config.adapter.alpha > 0))
    return fmt::format("'lora_alpha' is {}; AdaLoRA's must be positive", config.adapter.alpha);
  for (auto &[key, rank] : ranks) {
    std::string module;
    std::string_view part;
    if (!splitTripletName(key, module, part) || part != "lora_E")
      return fmt::format("'rank_pattern' has '{}', which is no lora_E", shown(key));
    const int64_t given = rank.alive ? int64_t(rank.alive->size()) : rank.count;
    if (rank.alive ? given != adaLora.initR : given > adaLora.initR)
      return fmt::format("'rank_pattern' gives '{}' {} triplets, but 'init_r' is {}", shown(key),
                         given, adaLora.initR);
    if (!config.live.emplace(module, std::move(rank)).second)
      return fmt::format("'rank_pattern' has module '{}' twice", shown(module));
  }
  if (config.adapter.useDora)
    return "'use_dora' asks for DoRA, which AdaLoRA does not have";
  config.adapter.adaLora = adaLora;
  config.adapter.r = adaLora.initR;
  config.adapter.useRslora = false; // PEFT's AdaLoRA does not look at it
  return "";
}

std::string ConfigWalk::finish() {
  config.adapter.useGate = peftType == gatedLayout.peftType;
  if (peftType != "LORA" && peftType != "ADALORA" && !config.adapter.useGate)
    return fmt::format("peft_type is '{}'; only 'LORA' and 'ADALORA', and lorac's own '{}', are in "
                       "this version",
                       shown(peftType), gatedLayout.peftType);
  if (!wrongKey.empty())
    return wrongKey;
  if (peftType == "ADALORA")
    return finishAdaLora();
  if (!wrongForLora.empty())
    return wrongForLora;
  if (config.adapter.useGate && config.adapter.useDora)
    return "'use_dora' asks for DoRA, which gated LoRA does not have";
  for (auto &[key, rank] : ranks)
    config.ranks.emplace_back(std::move(key), double(rank.count));
  for (const auto *patterns : {&config.ranks, &config.alphas})
    for (const auto &[key, value] : *patterns)
      if (!isPath(key))
        return fmt::format("the pattern '{}' is a regular expression; only module paths are in "
                           "this version",
                           shown(key));
  return "";
}

} // namespace

std::vector<std::string> PeftConfig::unmatchedPatterns(std::span<const std::string> modules) const {
  std::vector<std::string> unmatched;
  for (const auto &[patterns, name] :
       {std::pair(&ranks, "rank_pattern"), {&alphas, "alpha_pattern"}})
    for (const auto &[key, value] : *patterns)
      if (std::none_of(modules.begin(), modules.end(),
                       [&, &key = key](const std::string &module) { return matches(key, module); }))
        unmatched.push_back(fmt::format("'{}' has '{}', which matches no module of the adapter: "
                                        "it changes nothing",
                                        name, shown(key)));
  return unmatched;
}

double PeftConfig::rankOf(const std::string &module) const {
  return patternValue(ranks, module, double(adapter.r));
}

double PeftConfig::alphaOf(const std::string &module) const {
  return patternValue(alphas, module, adapter.alpha);
}

Result<PeftConfig> readPeftConfig(const std::string &path) {
  LORAC_TRY_ASSIGN(std::string text, readSmallFile(path, longestConfig));
  ConfigWalk walk;
  LORAC_TRY(walkJson(path, text,
                     [&](JsonPath at, const JsonEvent &event) { return walk.take(at, event); }));
  if (const std::string wrong = walk.finish(); !wrong.empty())
    return Error{fmt::format("'{}': {}", path, wrong), Exit::ForeignFile};
  return std::move(walk.config);
}

} // namespace lorac::formats
