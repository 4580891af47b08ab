// `lorac merge`: adapters merged into the weights of their base, as a model of its own.

#include "compiler/tools/Command.h"
#include "compiler/tools/MergeLosses.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/DurableFile.h"

#include <charconv>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <map>
#include <optional>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

struct MergeOptions {
  SpecInput spec;
  std::vector<std::string> adapters; ///< PATH or PATH@WEIGHT
  std::string out, format, dtype;
  std::string text; ///< data to tell losses of
  bool fromFloat = false;
  bool json = false;
};

/// Where less than this part of the updates survives, the user is told.
constexpr double smallShare = 0.5;

constexpr struct {
  std::string_view name;
  formats::GgmlType type;
  const char *format; ///< the one that has it; null: both
} dtypes[] = {
    {"f32", formats::GgmlType::F32, nullptr},  {"bf16", formats::GgmlType::BF16, nullptr},
    {"f16", formats::GgmlType::F16, nullptr},  {"q8_0", formats::GgmlType::Q8_0, "gguf"},
    {"q4_1", formats::GgmlType::Q4_1, "gguf"}, {"nf4", formats::GgmlType::F32, "safetensors"}};

/// A weight stands behind the last '@', where that is a number.
Result<WeightedAdapter> parseAdapter(const std::string &word) {
  const size_t at = word.rfind('@');
  if (at == std::string::npos || at == 0)
    return WeightedAdapter{word, 1, {}};
  double weight = 0;
  const char *end = word.data() + word.size();
  const auto [stop, failed] = std::from_chars(word.data() + at + 1, end, weight);
  if (failed != std::errc() || stop != end)
    return WeightedAdapter{word, 1, {}};
  if (!std::isfinite(weight))
    return Error{"'" + dsl::printable(word) + "' has a weight that is no finite number",
                 Exit::Usage};
  return WeightedAdapter{word.substr(0, at), weight, {}};
}

Result<MergeTarget> targetOf(const MergeOptions &options, const dsl::Spec &spec) {
  MergeTarget target;
  target.gguf = options.format == "gguf";
  for (const auto &dtype : dtypes) {
    if (dtype.name != options.dtype)
      continue;
    if (dtype.format && dtype.format != options.format)
      return Error{fmt::format("--dtype {} is of --format {}", dtype.name, dtype.format),
                   Exit::Usage};
    target.type = dtype.type;
  }
  if (options.dtype == "nf4")
    target.codes = formats::WeightFormat::codes(formats::FourBit::Nf4, *spec.quantization.blockSize,
                                                *spec.quantization.doubleQuant);
  return target;
}

/// Nothing that is there is touched.
Result<void> checkFree(const std::string &out, bool folder) {
  std::error_code code;
  const fs::file_status status = fs::symlink_status(out, code);
  if (!fs::exists(status) ||
      (folder && fs::is_directory(status) && fs::is_empty(out, code) && !code))
    return {};
  return Error{"'" + out + "' is there already, and is left as it is; name another place with -o",
               Exit::Usage};
}

void warnOfLoss(const MergeOptions &options, const MergedModel &model, double share) {
  if (share >= smallShare)
    return;
  std::string mend = "choose a --dtype of more bits";
  if (!options.fromFloat && model.held())
    mend = "merge into the base's own numbers first (--from-float), or " + mend;
  sayLine(fmt::format("warning: {:.2g} of the update survives as {}: most of it is smaller than a "
                      "step between two numbers; {}",
                      share, options.dtype, mend));
}

void printReport(const MergeOptions &options, const std::string &out, const MergedModel &model,
                 const std::map<std::string, Survival> &survivals,
                 const std::optional<MergeLosses> &losses) {
  Survival all;
  nlohmann::ordered_json modules = nlohmann::ordered_json::object();
  for (const std::string &module : model.base().model.adaptableModules()) {
    const auto found = survivals.find(module);
    if (found == survivals.end())
      continue;
    all.add(found->second);
    modules[module] = found->second.share();
    if (!options.json)
      print(fmt::format("{:<40} {:.4f}\n", module, found->second.share()));
  }
  if (options.json) {
    nlohmann::ordered_json json = {{"format", options.format},
                                   {"dtype", options.dtype},
                                   {"path", out},
                                   {"along", all.share()},
                                   {"modules", modules}};
    if (losses)
      json["losses"] = {
          {"base", losses->base}, {"adapted", losses->adapted}, {"merged", losses->merged}};
    print(json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  } else {
    print(fmt::format("{:<40} {:.4f}\n", "all: this part of the update is there", all.share()));
    if (losses)
      print(fmt::format("loss on {}: {:.6f} of the base, {:.6f} with the adapter beside it, {:.6f} "
                        "merged\n",
                        options.text, losses->base, losses->adapted, losses->merged));
    print(fmt::format("{}: {} modules merged\n", out, modules.size()));
  }
  warnOfLoss(options, model, all.share());
}

} // namespace

static Exit runMerge(const MergeOptions &options) {
  std::string out = options.out;
  while (out.size() > 1 && out.back() == '/')
    out.pop_back();
  const bool isFolder = options.format == "safetensors";
  if (Result<void> free = checkFree(out, isFolder); !free)
    return fail(free.error());
  std::vector<WeightedAdapter> adapters;
  for (const std::string &word : options.adapters) {
    Result<WeightedAdapter> adapter = parseAdapter(word);
    if (!adapter)
      return fail(adapter.error());
    adapters.push_back(std::move(*adapter));
  }
  dsl::Spec spec;
  BaseModel base;
  dsl::Diagnostics diags;
  const Exit loaded = loadSpecModel(options.spec, spec, base, diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (loaded != Exit::Done)
    return loaded;
  Result<MergeTarget> target = targetOf(options, spec);
  if (!target)
    return fail(target.error());
  Result<MergedModel> model =
      MergedModel::open(spec, std::move(base), std::move(adapters), options.fromFloat);
  if (!model)
    return fail(model.error());
  for (const std::string &path : {out, out + ".losses"})
    formats::removeLeftoversOf(path);
  if (Result<void> written = isFolder ? writeMergedFolder(out, *model, *target)
                                      : writeMergedGguf(out, *model, *target);
      !written)
    return fail(written.error());
  const std::map<std::string, Survival> survivals = model->survivals();
  std::optional<MergeLosses> losses;
  Exit code = Exit::Done;
  if (!options.text.empty()) {
    Result<MergeLosses> found = mergeLosses(options.text, out, spec, *model, *target);
    if (found)
      losses = *found;
    else
      code = fail(found.error());
  }
  printReport(options, out, *model, survivals, losses);
  return code;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<MergeOptions>();
  addSpec(app, options->spec);
  app.add_option("ADAPTER", options->adapters,
                 "adapters in PEFT's layout, or GGUF files; each may have a weight: PATH@WEIGHT")
      ->type_name("");
  app.add_option("-o,--out", options->out, "folder (safetensors) or file (gguf) to write")
      ->type_name("PATH");
  app.add_option("--format", options->format,
                 "safetensors: a Hugging Face folder; gguf: a file for llama.cpp")
      ->type_name("NAME")
      ->check(CLI::IsMember({"safetensors", "gguf"}));
  app.add_option("--dtype", options->dtype,
                 "f32, bf16 or f16; of gguf also q8_0, q4_1; of safetensors also nf4")
      ->type_name("NAME")
      ->check(CLI::IsMember({"f32", "bf16", "f16", "q8_0", "q4_1", "nf4"}));
  app.add_flag("--from-float", options->fromFloat,
               "add the updates to the numbers of the base's files, not to what the spec quantizes "
               "them to");
  app.add_option("--text", options->text,
                 "a data file: tell its loss of the base, with the adapter, and merged")
      ->type_name("FILE");
  app.add_flag("--json", options->json, "print JSON");
  return {[options]() -> std::string {
            if (options->spec.path.empty())
              return "SPEC is missing";
            if (options->adapters.empty())
              return "ADAPTER is missing";
            for (const auto &[value, name] : {std::pair(&options->out, "-o"),
                                              {&options->format, "--format"},
                                              {&options->dtype, "--dtype"}})
              if (std::string missing = needs(*value, name); !missing.empty())
                return missing;
            return "";
          },
          [options] { return runMerge(*options); }};
}

const Command commandMerge = {
    "merge", "adapters merged into their base: a model of its own, for other programs",
    R"(| `merge SPEC ADAPTER[@WEIGHT]… -o OUT --format safetensors\|gguf --dtype f32\|bf16\|f16\|q8_0\|q4_1\|nf4` | a model with the adapters in its weights, [merge.md](merge.md); prints what part of the update is left after rounding, by module |)",
    add};

} // namespace lorac::tools
