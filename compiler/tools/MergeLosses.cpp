#include "compiler/tools/MergeLosses.h"

#include "dsl/Parse.h"
#include "dsl/TomlText.h"
#include "nlohmann/json.hpp"
#include "runtime/formats/DurableFile.h"
#include "runtime/train/ChildProcess.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fmt/format.h>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

/// One adapter that does what all do with their weights.
Result<formats::Adapter> combined(const std::vector<WeightedAdapter> &adapters) {
  formats::Adapter all = adapters.front().adapter;
  if (adapters.size() == 1 && adapters.front().weight == 1)
    return all;
  for (const WeightedAdapter &one : adapters)
    if (one.adapter.useDora)
      return Error{"'" + one.path +
                       "' is DoRA's: with a weight, or beside another adapter, there is no adapter "
                       "that does the same, and so no loss before merging; leave --text out",
                   Exit::Refused};
  all.useRslora = false;
  all.targetModules.clear();
  all.modules.clear();
  std::map<std::string, std::vector<std::pair<const formats::AdapterModule *, double>>> byModule;
  for (const WeightedAdapter &one : adapters)
    for (const formats::AdapterModule &module : one.adapter.modules)
      byModule[module.module].emplace_back(&module, module.scale * one.weight);
  for (const auto &[name, parts] : byModule) {
    formats::AdapterModule &module = all.modules.emplace_back();
    module.module = name;
    module.in = parts.front().first->in, module.out = parts.front().first->out;
    module.scale = 1;
    for (const auto &[part, scale] : parts) {
      module.rank += part->rank;
      module.a.insert(module.a.end(), part->a.begin(), part->a.end());
    }
    for (int64_t row = 0; row < module.out; ++row)
      for (const auto &[part, scale] : parts)
        for (int64_t i = 0; i < part->rank; ++i)
          module.b.push_back(float(part->b[size_t(row * part->rank + i)] * scale));
  }
  all.r = all.modules.front().rank;
  all.alpha = double(all.r);
  return all;
}

class Losses {
public:
  Losses(const std::string &text, const dsl::Spec &spec, std::string folder)
      : text(fs::absolute(text).string()), spec(spec), folder(std::move(folder)) {}

  /// The loss of the model `source`, its linears held as `format`.
  Result<double> of(const std::string &source, std::string_view format,
                    const std::string &adapter = "") {
    const std::string name = fmt::format("{}/{}", folder, count++);
    LORAC_TRY(formats::writeDurably(name + ".toml", specOf(source, format)));
    std::error_code ignored;
    std::vector<std::string> words = {fs::read_symlink("/proc/self/exe", ignored).string(),
                                      "eval",
                                      name + ".toml",
                                      "--generated",
                                      name,
                                      "--json",
                                      "--quiet"};
    if (!adapter.empty())
      words.insert(words.end(), {"--adapter", adapter});
    LORAC_TRY_ASSIGN(train::ChildProcess child, train::ChildProcess::start(words, ""));
    while (!child.ended(std::chrono::seconds(1)))
      ;
    const train::ChildOutcome &outcome = child.outcome();
    const nlohmann::json json =
        nlohmann::json::parse(outcome.output, nullptr, /*allow_exceptions=*/false);
    if (outcome.exitCode != 0 || !json.is_object() || !json["loss"].is_number())
      return Error{"the loss on '" + text + "' is not known: " + outcome.errors,
                   outcome.exitCode > 0 ? Exit(outcome.exitCode) : Exit::Failed};
    return json["loss"].get<double>();
  }

private:
  std::string specOf(const std::string &source, std::string_view format) const {
    const auto toml = [](const std::string &value) { return dsl::tomlText(value); };
    std::string out = "[model]\nsource = " + toml(fs::absolute(source).string()) + "\n";
    if (const auto &architecture = spec.model.architecture; architecture.given())
      out += "architecture = " +
             toml(architecture->find('/') == std::string::npos ? *architecture
                                                               : spec.resolve(*architecture)) +
             "\n";
    return out + fmt::format("[quantization]\nformat = \"{}\"\nblock_size = {}\ndouble_quant = {}\n"
                             "[adapter]\nr = 1\n[[data]]\npath = {}\n[train]\nsteps = 1\n"
                             "batch_size = {}\nmax_length = {}\n[target]\ndevice = \"cpu\"\n",
                             format, *spec.quantization.blockSize, *spec.quantization.doubleQuant,
                             toml(text), *spec.train.batchSize, *spec.train.maxLength);
  }

  std::string text;
  const dsl::Spec &spec;
  std::string folder;
  int count = 0;
};

} // namespace

Result<MergeLosses> mergeLosses(const std::string &text, const std::string &out,
                                const dsl::Spec &spec, MergedModel &model,
                                const MergeTarget &target) {
  if (!spec.model.shape->empty())
    return Error{"'" + spec.path +
                     "' has model.shape, which the merged model does not: losses would be those of "
                     "two models; leave --text out, or model.shape",
                 Exit::Refused};
  // The programs' specs say all that matters: variables that change this one have had their effect.
  for (const dsl::EnvironmentKey &key : dsl::environmentKeys())
    unsetenv(key.name.c_str());
  LORAC_TRY_ASSIGN(formats::DurableDirectory folder,
                   formats::DurableDirectory::create(out + ".losses"));
  LORAC_TRY_ASSIGN(formats::Adapter adapter, combined(model.adapters()));
  const std::string &work = folder.workPath();
  const std::string adapterFolder = work + "/adapter";
  LORAC_TRY(formats::makeFolder(adapterFolder));
  LORAC_TRY(formats::writePeftAdapter(adapterFolder, adapter));
  Losses losses(text, spec, work);
  const std::string_view held = dsl::toString(*spec.quantization.format);
  MergeLosses all;
  LORAC_TRY_ASSIGN(all.base, losses.of(model.source().path(), held));
  LORAC_TRY_ASSIGN(all.adapted, losses.of(model.source().path(), held, adapterFolder));
  if (!target.codes) {
    LORAC_TRY_ASSIGN(all.merged, losses.of(out, "none"));
    return all;
  }
  // A folder of codes is not read in this version: its program quantizes the same numbers alike.
  MergeTarget before = target;
  before.type = formats::GgmlType::F32;
  before.unquantized = true;
  const std::string floats = work + "/merged";
  LORAC_TRY(writeMergedFolder(floats, model, before));
  LORAC_TRY_ASSIGN(all.merged,
                   losses.of(floats, formats::codebooks[size_t(target.codes->codebook)].name));
  return all;
}

} // namespace lorac::tools
