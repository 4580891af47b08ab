// `lorac export`: an adapter as PEFT's folder, of LoRA or AdaLoRA, or as llama.cpp's GGUF file.

#include "compiler/tools/Driver.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "dsl/Parse.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/Adapter.h"
#include "runtime/train/CheckpointTriplets.h"

#include <filesystem>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

/// How the base's modules are called in GGUF, and its architecture there.
struct GgufNames {
  std::string architecture;
  std::vector<formats::GgufModule> modules;
};

/// The effective spec that training left in the output folder; checkpoints lie one below it.
std::string specOf(const std::string &adapter) {
  std::error_code ignored;
  for (const fs::path &place :
       {fs::path(adapter) / "spec.toml", fs::absolute(adapter).parent_path() / "spec.toml"})
    if (fs::is_regular_file(place, ignored))
      return place.string();
  return "";
}

Result<GgufNames> ggufNames(const ExportOptions &options) {
  dsl::BoundModel model;
  dsl::Diagnostics diags;
  std::string architecture;
  Exit code = Exit::Done;
  if (!options.model.empty()) {
    code = loadModel(options.model, model, architecture, diags);
  } else if (std::string spec = specOf(options.adapter); !spec.empty()) {
    code = loadSpecModel(spec, model, architecture, diags);
  } else {
    return Error{"GGUF's names depend on the base model, and '" + options.adapter +
                     "' has no spec.toml beside it that would say which; name it with --model",
                 Exit::Usage};
  }
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code != Exit::Done)
    return Error{"the base model of '" + options.adapter + "' cannot be read; name it with --model",
                 code};
  GgufNames names{architecture, {}};
  for (const dsl::BoundWeight &weight : model.weights)
    for (int64_t layer = 0;
         weight.shape.size() == 2 && layer < (weight.perLayer ? model.layers : 1); ++layer)
      names.modules.push_back({weight.module(layer), weight.ggufName(layer), weight.permuteHeads});
  return names;
}

/// AdaLoRA's keys as the run's spec has them, where there is one beside the adapter.
void takeKeys(const std::string &path, formats::Adapter &adapter) {
  dsl::Diagnostics diags;
  if (path.empty())
    return;
  const dsl::Spec spec = dsl::loadSpec(path, {}, diags);
  if (diags.hasErrors() || !spec.adapter.adalora)
    return;
  const dsl::AdaLoraSpec &ada = *spec.adapter.adalora;
  adapter.alpha = *spec.adapter.loraAlpha;
  adapter.adaLora =
      formats::AdaLora{*ada.initR,        *ada.targetR, *ada.tinit, *ada.tfinal,       *ada.deltaT,
                       *spec.train.steps, *ada.beta1,   *ada.beta2, *ada.orthRegWeight};
}

/// The adapter as triplets: as it is, as its run's checkpoint has them, or with E = 1.
Result<formats::Adapter> tripletsOf(const std::string &folder, const formats::Adapter &adapter) {
  if (adapter.adaLora)
    return adapter;
  Result<std::optional<formats::Adapter>> trained = train::checkpointTriplets(folder, adapter);
  if (!trained)
    return trained.error();
  if (!*trained)
    sayLine("note: '" + folder +
            "' is plain LoRA, and no checkpoint beside it has its A, E and B: every E is 1");
  formats::Adapter out = *trained ? std::move(**trained) : formats::asTriplets(adapter);
  takeKeys(specOf(folder), out);
  return out;
}

std::string withoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  return path;
}

Result<void> write(const ExportOptions &options, const std::string &source, const std::string &out,
                   const formats::Adapter &adapter, const GgufNames &names) {
  if (options.format == "gguf")
    return formats::writeGgufAdapter(out, adapter, names.architecture, names.modules);
  formats::Adapter triplets;
  if (options.format == "peft-adalora") {
    Result<formats::Adapter> made = tripletsOf(source, adapter);
    if (!made)
      return made.error();
    triplets = std::move(*made);
  }
  std::error_code code;
  fs::create_directories(out, code);
  if (code)
    return Error{"cannot create '" + out + "': " + code.message()};
  return triplets.adaLora ? formats::writePeftAdaLora(out, triplets)
                          : formats::writePeftAdapter(out, adapter);
}

} // namespace

Exit runExport(const ExportOptions &options) {
  const std::string source = withoutSlash(options.adapter);
  const bool fromGguf = fs::path(source).extension() == ".gguf";
  GgufNames names;
  if (fromGguf || options.format == "gguf") {
    Result<GgufNames> found = ggufNames(options);
    if (!found)
      return fail(found.error());
    names = std::move(*found);
  }
  Result<formats::Adapter> adapter =
      fromGguf ? formats::readGgufAdapter(source, names.modules) : formats::readAdapter(source);
  if (!adapter)
    return fail(adapter.error());
  if (adapter->isAlone)
    sayLine(
        "note: '" + source +
        "' has no adapter_config.json beside it: lora_alpha is taken to be the rank, a scale of 1");
  const std::string stem = fromGguf ? source.substr(0, source.size() - 5) : source;
  const std::string out = !options.out.empty()       ? options.out
                          : options.format == "gguf" ? stem + ".gguf"
                                                     : stem + "-" + options.format;
  if (Result<void> written = write(options, source, out, *adapter, names); !written)
    return fail(written.error());
  if (options.json)
    print(nlohmann::ordered_json{
              {"format", options.format}, {"path", out}, {"modules", adapter->modules.size()}}
              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
  else
    print(out + ": " + std::to_string(adapter->modules.size()) + " modules\n");
  return Exit::Done;
}

} // namespace lorac::tools
