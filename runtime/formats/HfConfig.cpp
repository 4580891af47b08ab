#include "runtime/formats/HfConfig.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/JsonWalk.h"
#include "runtime/formats/MappedFile.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::formats {
namespace {

constexpr uint64_t longestConfig = 16 << 20;

/// Keys by which transformers finds code.
constexpr std::string_view codeKeys[] = {"auto_map", "custom_pipelines", "trust_remote_code"};

} // namespace

Result<HfConfig> HfConfig::open(const std::string &path) {
  LORAC_TRY_ASSIGN(std::string text, readSmallFile(path, longestConfig));
  return parse(path, text);
}

Result<HfConfig> HfConfig::parse(const std::string &path, std::string_view json) {
  HfConfig config;
  config.file = path;
  LORAC_TRY(walkJson(path, json, [&](JsonPath at, const JsonEvent &event) -> std::string {
    if (at.empty())
      return event.kind == JsonEvent::Object ? "" : "no JSON object";
    if (std::find(std::begin(codeKeys), std::end(codeKeys), at[0]) != std::end(codeKeys)) {
      if (at.size() == 1)
        config.ignoredKeys.push_back(at[0]);
      return "";
    }
    std::string key = at[0];
    for (const std::string &part : at.subspan(1))
      key += "." + part;
    switch (event.kind) {
    case JsonEvent::Null:
      config.nulls.insert(key);
      return "";
    case JsonEvent::Bool:
      config.values[key] = event.truth;
      return "";
    case JsonEvent::Integer:
      config.values[key] = event.integer;
      return "";
    case JsonEvent::Number:
      config.values[key] = event.number;
      return "";
    case JsonEvent::String:
      config.values[key] = std::string(event.text);
      return "";
    case JsonEvent::Array:
      if (event.count > 0)
        config.values[key] = fmt::format("an array of {}", event.count);
      return "";
    case JsonEvent::Object:
      if (event.count > 0)
        config.values[key] = std::string("an object");
      return "";
    }
    return "";
  }));
  return config;
}

std::optional<HyperValue> HfConfig::lookup(const std::string &key) const {
  const auto found = values.find(key);
  if (found == values.end())
    return std::nullopt;
  return found->second;
}

} // namespace lorac::formats
