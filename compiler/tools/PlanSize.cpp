#include "compiler/tools/PlanSize.h"

#include "nlohmann/json.hpp"

namespace lorac::tools {

uint64_t PlanSize::weightBytes() const {
  uint64_t sum = 0;
  for (const auto &[format, bytes] : weights)
    sum += bytes;
  return sum;
}

Result<PlanSize> readPlanSize(const std::string &planJson) {
  try {
    const auto json = nlohmann::json::parse(planJson);
    PlanSize size;
    for (const auto &weight : json.at("weights"))
      for (const auto &part : weight.at("parts"))
        size.weights[weight.at("format")] += part.at("bytes").get<uint64_t>();
    const auto &arena = json.at("arena");
    size.arena = arena.at("bytes");
    size.scratch = arena.at("scratch_bytes");
    for (const auto &region : arena.at("regions")) {
      const std::string kind = region.at("kind");
      const std::string storage = region.value("storage", "floats");
      const uint64_t count = region.at("count");
      if (kind == "params")
        size.parameters = count;
      if (kind == "params" || kind == "grads" || kind == "state")
        size.adapters += (storage.starts_with("dynamic8") ? 1 : 4) * count;
    }
    size.tokens = json.at("limits").at("max_tokens");
    for (const auto &launch : json.at("programs").at("train"))
      size.flops += launch.at("flops").get<double>();
    return size;
  } catch (const nlohmann::json::exception &error) {
    return Error{std::string("the plan is not what it should be: ") + error.what(), Exit::Bug};
  }
}

} // namespace lorac::tools
