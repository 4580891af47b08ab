// A model's identity as it travels in a compiled program, and its facts in checkpoints and
// adapters.
#include "runtime/formats/ModelIdentity.h"

#include <nlohmann/json.hpp>

namespace lorac::formats {
namespace {

using Json = nlohmann::ordered_json;

Json valueJson(const HyperValue &value) {
  return std::visit([](const auto &v) { return Json(v); }, value);
}

std::optional<HyperValue> valueOf(const Json &json) {
  if (json.is_boolean())
    return HyperValue(json.get<bool>());
  if (json.is_number_integer())
    return HyperValue(json.get<int64_t>());
  if (json.is_number())
    return HyperValue(json.get<double>());
  if (json.is_string())
    return HyperValue(json.get<std::string>());
  return std::nullopt;
}

std::vector<std::string> textsOf(const Json &in, const char *key) {
  std::vector<std::string> out;
  if (const auto found = in.find(key); found != in.end() && found->is_array())
    for (const Json &item : *found)
      if (item.is_string())
        out.push_back(item.get<std::string>());
  return out;
}

std::string textOf(const Json &in, const char *key) {
  const auto found = in.find(key);
  return found != in.end() && found->is_string() ? found->get<std::string>() : "";
}

bool readNumbers(const Json &in, std::vector<float> &out) {
  for (const Json &value : in) {
    if (!value.is_number())
      return false;
    out.push_back(value.get<float>());
  }
  return in.is_array();
}

std::string dumped(const Json &json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

} // namespace

std::string toJson(const ModelIdentity &identity) {
  Json out = {{"architecture", identity.architecture},
              {"model_types", identity.modelTypes},
              {"symbols", Json::object()},
              {"expects", Json::array()},
              {"harmless", identity.harmless}};
  for (const ModelSymbol &symbol : identity.symbols) {
    Json &entry = out["symbols"][symbol.name];
    entry = {{"value", valueJson(symbol.value)}, {"hf", symbol.hf}, {"gguf", symbol.gguf}};
    if (symbol.otherwise)
      entry["otherwise"] = valueJson(*symbol.otherwise);
    if (symbol.ggufOtherwise)
      entry["gguf_otherwise"] = valueJson(*symbol.ggufOtherwise);
    if (symbol.nullIsZero)
      entry["null_is_zero"] = true;
    if (!symbol.ggufAbsentTensor.empty())
      entry["gguf_absent_tensor"] = symbol.ggufAbsentTensor;
    if (symbol.ofFrequencies)
      entry["of_frequencies"] = true;
  }
  for (const ModelExpectation &expects : identity.expects) {
    Json values = Json::array();
    for (const HyperValue &value : expects.values)
      values.push_back(valueJson(value));
    out["expects"].push_back({{"hf", expects.hf},
                              {"gguf", expects.gguf},
                              {"gguf_absent_tensor", expects.ggufAbsentTensor},
                              {"values", values},
                              {"why", expects.why}});
    if (expects.mustBeSaid)
      out["expects"].back()["must_be_said"] = true;
  }
  if (!identity.layerTypes.empty())
    out["layer_types"] = identity.layerTypes;
  if (!identity.frequencies.empty())
    out["frequencies"] = identity.frequencies;
  if (!identity.ropeDivisors.empty())
    out["rope_divisors"] = {{"tensor", identity.ropeDivisors}, {"values", identity.divisors}};
  return dumped(out);
}

Result<ModelIdentity> parseModelIdentity(std::string_view text) {
  const Error wrong{"the program's description of its model is damaged; compile the spec again",
                    Exit::ForeignFile};
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("symbols") || !json["symbols"].is_object() ||
      !json.contains("expects") || !json["expects"].is_array())
    return wrong;
  ModelIdentity identity;
  identity.architecture = textOf(json, "architecture");
  identity.modelTypes = textsOf(json, "model_types");
  identity.harmless = textsOf(json, "harmless");
  for (const auto &[name, entry] : json["symbols"].items()) {
    const std::optional<HyperValue> value =
        entry.is_object() && entry.contains("value") ? valueOf(entry["value"]) : std::nullopt;
    if (!value)
      return wrong;
    ModelSymbol symbol{name,
                       textsOf(entry, "hf"),
                       textsOf(entry, "gguf"),
                       textOf(entry, "gguf_absent_tensor"),
                       std::nullopt,
                       *value};
    if (entry.contains("otherwise"))
      symbol.otherwise = valueOf(entry["otherwise"]);
    if (entry.contains("gguf_otherwise"))
      symbol.ggufOtherwise = valueOf(entry["gguf_otherwise"]);
    symbol.nullIsZero = entry.contains("null_is_zero");
    symbol.ofFrequencies = entry.contains("of_frequencies");
    identity.symbols.push_back(std::move(symbol));
  }
  for (const Json &entry : json["expects"]) {
    if (!entry.is_object() || !entry.contains("values") || !entry["values"].is_array())
      return wrong;
    ModelExpectation expects{textsOf(entry, "hf"),
                             textsOf(entry, "gguf"),
                             textOf(entry, "gguf_absent_tensor"),
                             {},
                             textOf(entry, "why"),
                             entry.contains("must_be_said")};
    for (const Json &value : entry["values"])
      if (std::optional<HyperValue> known = valueOf(value))
        expects.values.push_back(*known);
    identity.expects.push_back(std::move(expects));
  }
  identity.layerTypes = textOf(json, "layer_types");
  if (const auto divisors = json.find("rope_divisors"); divisors != json.end()) {
    if (!divisors->is_object() || !divisors->contains("values") ||
        !(*divisors)["values"].is_array())
      return wrong;
    identity.ropeDivisors = textOf(*divisors, "tensor");
    if (!readNumbers((*divisors)["values"], identity.divisors))
      return wrong;
  }
  if (const auto scaled = json.find("frequencies"); scaled != json.end())
    for (const auto &[name, values] : scaled->items())
      if (!readNumbers(values, identity.frequencies[name]))
        return wrong;
  return identity;
}

std::string factsToJson(const std::map<std::string, std::string> &facts) {
  return dumped(Json(facts));
}

std::optional<std::map<std::string, std::string>> factsFromJson(std::string_view text) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    return std::nullopt;
  std::map<std::string, std::string> facts;
  for (const auto &[key, value] : json.items()) {
    if (!value.is_string())
      return std::nullopt;
    facts[key] = value.get<std::string>();
  }
  return facts;
}

} // namespace lorac::formats
