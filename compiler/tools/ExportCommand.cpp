// `lorac export`: an adapter as PEFT's folder or as llama.cpp's GGUF file.

#include "compiler/tools/Driver.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/Adapter.h"

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

std::string withoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  return path;
}

Result<void> write(const ExportOptions &options, const std::string &out,
                   const formats::Adapter &adapter, const GgufNames &names) {
  if (options.format == "gguf")
    return formats::writeGgufAdapter(out, adapter, names.architecture, names.modules);
  std::error_code code;
  fs::create_directories(out, code);
  if (code)
    return Error{"cannot create '" + out + "': " + code.message()};
  return formats::writePeftAdapter(out, adapter);
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
  const std::string stem = fromGguf ? source.substr(0, source.size() - 5) : source;
  const std::string out = !options.out.empty()       ? options.out
                          : options.format == "gguf" ? stem + ".gguf"
                                                     : stem + "-peft";
  if (Result<void> written = write(options, out, *adapter, names); !written)
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
