// PEFT's folder, written: LoRA and AdaLoRA.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/ModelIdentity.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cassert>
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

nlohmann::ordered_json loraConfig(const Adapter &adapter) {
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
  config["peft_type"] = adapter.layout().peftType;
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
  if (const std::string_view key = adapter.layout().peftKey; !key.empty())
    config[std::string(key)] = true;
  if (!ranks.empty())
    config["rank_pattern"] = ranks;
  if (!alphas.empty())
    config["alpha_pattern"] = alphas;
  return config;
}

nlohmann::ordered_json adaLoraConfig(const Adapter &adapter) {
  nlohmann::ordered_json config, targets, ranks = nlohmann::ordered_json::object();
  const AdaLora &ada = *adapter.adaLora;
  for (const AdapterModule &module : adapter.modules) {
    targets.push_back(module.module);
    std::vector<bool> alive(size_t(ada.initR), false);
    std::fill_n(alive.begin(), module.rank, true);
    ranks[module.module + ".lora_E"] = alive;
  }
  config["peft_type"] = adapter.layout().peftType;
  config["task_type"] = "CAUSAL_LM";
  config["base_model_name_or_path"] = adapter.baseModel;
  config["init_r"] = ada.initR;
  config["target_r"] = ada.targetR;
  config["lora_alpha"] = number(adapter.alpha);
  config["lora_dropout"] = adapter.dropout;
  config["tinit"] = ada.tinit;
  config["tfinal"] = ada.tfinal;
  config["deltaT"] = ada.deltaT;
  config["total_step"] = ada.totalStep;
  config["beta1"] = ada.beta1;
  config["beta2"] = ada.beta2;
  config["orth_reg_weight"] = ada.orthRegWeight;
  config["rank_pattern"] = ranks;
  config["target_modules"] = targets;
  config["bias"] = "none";
  config["fan_in_fan_out"] = false;
  config["inference_mode"] = true;
  return config;
}

/// What PEFT can say in adapter_config.json: one init_r and one alpha, both positive, and a
/// total_step after the two phases. Every update stays what it is.
Adapter asPeftSaysIt(Adapter adapter) {
  AdaLora &ada = *adapter.adaLora;
  std::erase_if(adapter.modules, [](const AdapterModule &module) { return module.rank == 0; });
  for (const AdapterModule &module : adapter.modules)
    ada.initR = std::max(ada.initR, module.rank);
  ada.totalStep = std::max(ada.totalStep, ada.tinit + ada.tfinal + 1);
  if (!(adapter.alpha > 0))
    adapter.alpha = double(ada.initR);
  const double scale = adapter.alpha / (double(ada.initR) + 1e-5);
  for (AdapterModule &module : adapter.modules)
    if (!nearly(module.scale, scale))
      for (float &e : module.e)
        e = float(e * (module.scale / scale));
  return adapter;
}

Result<void> writeFolder(const std::string &folder,
                         nlohmann::ordered_json (*config)(const Adapter &), const Adapter &adapter,
                         std::map<std::string, std::string> *hashes) {
  const AdapterLayout &layout = adapter.layout();
  std::vector<TensorToWrite> tensors;
  for (const AdapterModule &module : adapter.modules)
    for (const AdapterPart part : layout.parts)
      tensors.push_back({fmt::format("{}{}.{}{}", peftPrefix, module.module, toString(part),
                                     layout.isBare ? "" : layoutOf(part).suffix),
                         DType::F32, shapeOf(part, module.rank, module.in, module.out),
                         module.data(part)});
  for (const TensorToWrite &tensor : tensors) {
    size_t count = 1;
    for (int64_t dim : tensor.shape)
      count *= size_t(dim);
    LORAC_TRY(requireFinite({static_cast<const float *>(tensor.data), count},
                            "'" + folder + "' is not written", tensor.name));
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (!adapter.base.empty())
    metadata[adapterBaseKey] = factsToJson(adapter.base);
  std::string hash;
  LORAC_TRY(writeSafetensors(folder + "/adapter_model.safetensors", tensors, metadata, &hash));
  std::string text;
  try {
    text = config(adapter).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  } catch (const std::exception &error) {
    return Error{fmt::format("cannot write '{}/adapter_config.json': {}", folder, error.what()),
                 Exit::Failed};
  }
  if (hashes) {
    (*hashes)["adapter_model.safetensors"] = hash;
    (*hashes)["adapter_config.json"] = hashHex(text);
  }
  return writeDurably(folder + "/adapter_config.json", text);
}

Error nothingLeft(const std::string &folder) {
  return {fmt::format("all modules have rank 0: there is no adapter to write into '{}'", folder),
          Exit::Failed};
}

} // namespace

Result<void> writePeftAdapter(const std::string &folder, const Adapter &adapter,
                              std::map<std::string, std::string> *hashes) {
  if (adapter.adaLora) {
    const Adapter folded = foldTriplets(adapter);
    return folded.modules.empty() ? nothingLeft(folder) : writePeftAdapter(folder, folded, hashes);
  }
  return writeFolder(folder, loraConfig, adapter, hashes);
}

Result<void> writePeftAdaLora(const std::string &folder, const Adapter &given,
                              std::map<std::string, std::string> *hashes) {
  assert(given.adaLora && "the caller has an AdaLoRA adapter");
  assert(std::all_of(given.modules.begin(), given.modules.end(),
                     [](const auto &m) { return m.e.size() == size_t(m.rank); }) &&
         "a module of AdaLoRA has an E");
  const Adapter adapter = asPeftSaysIt(given);
  if (adapter.modules.empty())
    return nothingLeft(folder);
  if (adapter.adaLora->initR > AdaLora::largestInitR)
    return Error{fmt::format("init_r is {}; adapter_config.json of AdaLoRA takes at most {}",
                             adapter.adaLora->initR, AdaLora::largestInitR),
                 Exit::Failed};
  return writeFolder(folder, adaLoraConfig, adapter, hashes);
}

} // namespace lorac::formats
