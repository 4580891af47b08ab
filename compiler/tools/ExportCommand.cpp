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

/// The base: its architecture in GGUF, its linear layers, and which model it is.
struct Base {
  std::string architecture;
  std::vector<formats::GgufModule> modules;
  formats::ModelIdentity identity;
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

Result<Base> readBase(const ExportOptions &options) {
  BaseModel base;
  dsl::Diagnostics diags;
  Exit code = Exit::Done;
  if (!options.model.empty()) {
    code = loadModel(options.model, base, diags);
  } else if (std::string spec = specOf(options.adapter); !spec.empty()) {
    code = loadSpecModel(spec, base, diags);
  } else {
    return Error{"GGUF's names depend on the base model, and '" + options.adapter +
                     "' has no spec.toml beside it that would say which; name it with --model",
                 Exit::Usage};
  }
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code != Exit::Done)
    return Error{options.model.empty() ? "the base model of '" + options.adapter +
                                             "' cannot be read; name it with --model"
                                       : "the base model '" + options.model + "' is refused",
                 code};
  Base out{base.ggufArchitecture, {}, std::move(base.identity)};
  for (const dsl::BoundWeight &weight : base.model.weights)
    for (int64_t layer = 0;
         weight.shape.size() == 2 && layer < (weight.perLayer ? base.model.layers : 1); ++layer)
      out.modules.push_back({weight.module(layer), weight.ggufName(layer), weight.permuteHeads,
                             weight.shape[0], weight.shape[1]});
  return out;
}

/// Whether the adapter is one of this base, as far as its file and its shapes say.
Result<void> checkBase(const std::string &source, const formats::Adapter &adapter, const Base &base,
                       bool fromGguf) {
  if (!fromGguf) {
    Result<formats::AdapterOrigin> origin = formats::readAdapterOrigin(source);
    if (!origin)
      return origin.error();
    if (Result<void> same = formats::checkAdapterBase(origin->base, base.identity, source); !same)
      return same;
  }
  return formats::checkFitsBase(adapter, base.modules, source);
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
                   const formats::Adapter &adapter, const Base &base) {
  if (options.format == "gguf")
    return formats::writeGgufAdapter(out, adapter, base.architecture, base.modules);
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
  Base base;
  const bool needsBase = fromGguf || options.format == "gguf" || !options.model.empty();
  if (needsBase) {
    Result<Base> found = readBase(options);
    if (!found)
      return fail(found.error());
    base = std::move(*found);
  }
  Result<formats::Adapter> adapter =
      fromGguf ? formats::readGgufAdapter(source, base.modules) : formats::readAdapter(source);
  if (!adapter)
    return fail(adapter.error());
  if (needsBase)
    if (Result<void> fits = checkBase(source, *adapter, base, fromGguf); !fits)
      return fail(fits.error());
  const std::string stem = fromGguf ? source.substr(0, source.size() - 5) : source;
  const std::string out = !options.out.empty()       ? options.out
                          : options.format == "gguf" ? stem + ".gguf"
                                                     : stem + "-" + options.format;
  if (Result<void> written = write(options, source, out, *adapter, base); !written)
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
