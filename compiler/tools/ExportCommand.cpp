// `lorac export`: an adapter as PEFT's folder, of LoRA or AdaLoRA, or as llama.cpp's GGUF file.

#include "compiler/tools/Command.h"
#include "compiler/tools/Output.h"
#include "compiler/tools/Project.h"
#include "dsl/Diagnostics.h"
#include "dsl/Parse.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/Adapter.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/Hash.h"
#include "runtime/train/CheckpointTriplets.h"

#include <algorithm>
#include <filesystem>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

struct ExportOptions {
  std::string adapter; ///< a folder in PEFT's layout
  std::string format;  ///< peft | peft-adalora | gguf
  std::string out;
  std::string model;  ///< the base model; empty: what the adapter names
  bool force = false; ///< replace an adapter of the same kind that is there
  bool json = false;
};

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
    LORAC_TRY_ASSIGN(formats::AdapterOrigin origin, formats::readAdapterOrigin(source));
    LORAC_TRY(formats::checkAdapterBase(origin.base, base.identity, source));
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
  if (adapter.useDora)
    return Error{"'" + folder +
                     "' is DoRA's, and AdaLoRA has no place for its magnitudes; --format "
                     "peft keeps them",
                 Exit::Refused};
  if (adapter.useGate)
    return Error{"'" + folder +
                     "' is of gated LoRA, and AdaLoRA has no place for its gates; --format peft "
                     "keeps them",
                 Exit::Refused};
  LORAC_TRY_ASSIGN(std::optional<formats::Adapter> trained,
                   train::checkpointTriplets(folder, adapter));
  if (!trained)
    sayLine("note: '" + folder +
            "' is plain LoRA, and no checkpoint beside it has its A, E and B: every E is 1");
  formats::Adapter out = trained ? std::move(*trained) : formats::asTriplets(adapter);
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
    LORAC_TRY_ASSIGN(triplets, tripletsOf(source, adapter));
  }
  // Whole or not at all, also over an older one: no new weights beside an old configuration.
  LORAC_TRY_ASSIGN(formats::DurableDirectory folder, formats::DurableDirectory::create(out));
  formats::FolderManifest manifest;
  LORAC_TRY(triplets.adaLora
                ? formats::writePeftAdaLora(folder.workPath(), triplets, &manifest.files)
                : formats::writePeftAdapter(folder.workPath(), adapter, &manifest.files));
  LORAC_TRY(manifest.write(folder.workPath()));
  if (Result<formats::Adapter> readBack = formats::readAdapter(folder.workPath()); !readBack)
    return Error{"what was written does not read back: " + readBack.error().message};
  return folder.commit();
}

bool isGgufAdapter(const fs::path &path) {
  std::error_code ignored;
  if (fs::file_size(path, ignored) == 0)
    return true;
  const auto file = formats::Gguf::open(path.string(), formats::GgufParts::Keys);
  if (!file)
    return false;
  const Result<std::string_view> type = file->text("general.type");
  return type && *type == "adapter";
}

/// An adapter in PEFT's layout and nothing else: what lorac exported, as it did, or another
/// program's two files.
Result<void> checkPeftFolder(const std::string &out) {
  const auto refused = [&](const std::string &what) {
    return Error{"'" + out + "' " + what + ": it is left as it is; name another folder with -o",
                 Exit::Refused};
  };
  Result<std::optional<formats::FolderManifest>> manifest = formats::FolderManifest::read(out);
  if (!manifest)
    return refused("has a manifest.json that is damaged or none of lorac's");
  std::error_code code;
  size_t files = 0;
  for (fs::directory_iterator at(out, code), end; !code && at != end; at.increment(code)) {
    const std::string name = at->path().filename().string();
    if (*manifest && name == formats::FolderManifest::fileName)
      continue;
    if (name != "adapter_config.json" && name != "adapter_model.safetensors")
      return refused("holds '" + name + "', which an export does not write");
    if (!at->is_regular_file(code) || at->is_symlink(code))
      return refused("holds '" + name + "', which is no file");
    const Result<std::string> hash = formats::hashFile(at->path().string());
    if (*manifest && !(hash && (*manifest)->lists(name, *hash)))
      return refused("holds '" + name + "', not as lorac wrote it: damaged, or changed since");
    ++files;
  }
  if (code)
    return Error{"cannot read '" + out + "': " + code.message()};
  if (files > 0 && !*manifest)
    if (Result<formats::Adapter> adapter = formats::readAdapter(out); !adapter)
      return refused("holds no adapter that can be read");
  return {};
}

/// Nothing is there, or with --force an adapter of the kind that will be written.
Result<void> checkTarget(const ExportOptions &options, const std::string &out) {
  std::error_code code;
  const fs::file_status status = fs::symlink_status(out, code);
  if (!fs::exists(status))
    return {};
  const bool folder = fs::is_directory(status), file = fs::is_regular_file(status);
  if (folder && options.format != "gguf" && fs::is_empty(out, code) && !code)
    return {};
  if (!options.force)
    return Error{"'" + out +
                     "' is there already; --force replaces an adapter of the same kind, -o "
                     "names another place",
                 Exit::Usage};
  if (options.format == "gguf")
    return file && isGgufAdapter(out)
               ? Result<void>()
               : Error{"'" + out +
                           "' is no GGUF adapter: it is left as it is; name another file "
                           "with -o",
                       Exit::Refused};
  return folder ? checkPeftFolder(out)
                : Error{"'" + out +
                            "' is no folder with an adapter: it is left as it is; name "
                            "another one with -o",
                        Exit::Refused};
}

} // namespace

static Exit runExport(const ExportOptions &options) {
  const std::string source = withoutSlash(options.adapter);
  const bool fromGguf = fs::path(source).extension() == ".gguf";
  const std::string stem = fromGguf ? source.substr(0, source.size() - 5) : source;
  const std::string out = withoutSlash(!options.out.empty()       ? options.out
                                       : options.format == "gguf" ? stem + ".gguf"
                                                                  : stem + "-" + options.format);
  if (Result<void> free = checkTarget(options, out); !free)
    return fail(free.error());
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
  if (adapter->isAlone)
    sayLine(
        "note: '" + source +
        "' has no adapter_config.json beside it: lora_alpha is taken to be the rank, a scale of 1");
  if (needsBase)
    if (Result<void> fits = checkBase(source, *adapter, base, fromGguf); !fits)
      return fail(fits.error());
  formats::removeLeftoversOf(out);
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

static Action add(CLI::App &app) {
  auto options = std::make_shared<ExportOptions>();
  app.add_option("ADAPTER", options->adapter, "an adapter in PEFT's layout")->type_name("");
  app.add_option("--format", options->format,
                 "peft, gguf, or peft-adalora: triplets as PEFT's AdaLoRA saves them")
      ->type_name("NAME")
      ->check(CLI::IsMember({"peft", "peft-adalora", "gguf"}));
  app.add_option("-o,--out", options->out,
                 "folder (peft) or file (gguf) to write [beside the adapter]")
      ->type_name("PATH");
  app.add_option("--model", options->model, "the base model [what the adapter names]")
      ->type_name("PATH");
  app.add_flag("--force", options->force, "replace an adapter of the same kind that is there");
  app.add_flag("--json", options->json, "print JSON");
  return {[options] {
            return options->adapter.empty() ? std::string("ADAPTER is missing")
                                            : needs(options->format, "--format");
          },
          [options] { return runExport(*options); }};
}

const Command commandExport = {
    "export", "an adapter for other programs: PEFT or llama.cpp",
    R"(| `export ADAPTER --format peft\|peft-adalora\|gguf` | an adapter for PEFT, vLLM or llama.cpp; the base model is that of the `spec.toml` beside it, or `--model`, and must have every module in the adapter's shape; `peft-adalora`: triplets, as PEFT's AdaLoRA saves them (docs/adalora.md, "Files"); `-o` onto something that is there needs `--force`, which replaces an adapter of the same kind and nothing else |)",
    add};

} // namespace lorac::tools
