// PEFT's folder, written.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace lorac::formats {
namespace {

/// What PEFT divides by the rank (or its root) to get the module's scale.
double alphaOf(const Adapter &adapter, const AdapterModule &module) {
  return module.scale * (adapter.useRslora ? std::sqrt(double(module.rank)) : double(module.rank));
}

bool nearly(double a, double b) {
  return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b));
}

/// A whole number is written as one: older readers compare with integers.
nlohmann::ordered_json number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return int64_t(value);
  return value;
}

std::string configText(const Adapter &adapter) {
  nlohmann::ordered_json config, ranks = nlohmann::ordered_json::object(), alphas = ranks, targets;
  for (const std::string &name : adapter.targetModules)
    targets.push_back(name);
  for (const AdapterModule &module : adapter.modules) {
    if (adapter.targetModules.empty())
      targets.push_back(module.module);
    if (module.rank != adapter.r)
      ranks[module.module] = module.rank;
    const double alpha = alphaOf(adapter, module);
    if (!nearly(alpha, adapter.alpha))
      alphas[module.module] = number(nearly(alpha, std::round(alpha)) ? std::round(alpha) : alpha);
  }
  config["peft_type"] = "LORA";
  config["task_type"] = "CAUSAL_LM";
  config["base_model_name_or_path"] = adapter.baseModel;
  config["r"] = adapter.r;
  config["lora_alpha"] = number(adapter.alpha);
  config["lora_dropout"] = adapter.dropout;
  config["target_modules"] = targets;
  config["bias"] = "none";
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  // Keys that older readers lack are written only where they say something.
  if (adapter.useRslora)
    config["use_rslora"] = true;
  if (!ranks.empty())
    config["rank_pattern"] = ranks;
  if (!alphas.empty())
    config["alpha_pattern"] = alphas;
  return config.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

} // namespace

Result<void> writePeftAdapter(const std::string &folder, const Adapter &adapter) {
  std::vector<TensorToWrite> tensors;
  for (const AdapterModule &module : adapter.modules) {
    const std::string name = "base_model.model." + module.module;
    tensors.push_back(
        {name + ".lora_A.weight", DType::F32, {module.rank, module.in}, module.a.data()});
    tensors.push_back(
        {name + ".lora_B.weight", DType::F32, {module.out, module.rank}, module.b.data()});
  }
  if (Result<void> written =
          writeSafetensors(folder + "/adapter_model.safetensors", tensors, {{"format", "pt"}});
      !written)
    return written;
  std::string config;
  try {
    config = configText(adapter);
  } catch (const std::exception &error) {
    return Error{fmt::format("cannot write '{}/adapter_config.json': {}", folder, error.what()),
                 Exit::Failed};
  }
  return writeDurably(folder + "/adapter_config.json", config);
}

} // namespace lorac::formats
