// `lorac combine`: one adapter from several, as PEFT's add_weighted_adapter makes it.

#include "compiler/tools/Command.h"
#include "compiler/tools/Output.h"
#include "dsl/Diagnostics.h"
#include "runtime/combine/Adapters.h"
#include "runtime/formats/AdapterFolder.h"
#include "runtime/formats/DurableFile.h"

#include <algorithm>
#include <cmath>
#include <filesystem>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

struct CombineOptions {
  std::vector<std::string> adapters;
  std::string method, out;
  std::vector<double> weights;
};

Error usage(const std::string &message) { return {message, Exit::Usage}; }

std::string withoutSlash(std::string path) {
  while (path.size() > 1 && path.back() == '/')
    path.pop_back();
  return path;
}

/// The row of a method's name.
template <typename Method>
Result<Method> methodOf(const std::string &name, std::span<const Method> methods) {
  std::vector<std::string> names;
  std::string list;
  for (const Method &method : methods) {
    if (method.name == name)
      return method;
    names.push_back(std::string(method.name));
    list += (list.empty() ? "" : ", ") + names.back();
  }
  const std::string best = dsl::nearest(name, names);
  return usage("--method '" + dsl::printable(name) + "' is none of " + list +
               (best.empty() ? "" : "; did you mean '" + best + "'?"));
}

Result<void> checkWeights(const CombineOptions &options, size_t count) {
  if (options.weights.size() != count)
    return usage("--weights has " + std::to_string(options.weights.size()) + " for " +
                 std::to_string(count) + " adapters; each takes one, in their order");
  for (const double weight : options.weights)
    if (!std::isfinite(weight))
      return usage("--weights must be finite numbers");
  return {};
}

/// Nothing has the name, or an empty folder.
Result<void> checkFree(const std::string &out) {
  std::error_code code;
  const fs::file_status status = fs::symlink_status(out, code);
  if (!fs::exists(status) || (fs::is_directory(status) && fs::is_empty(out, code) && !code))
    return {};
  return usage("'" + out + "' is there already: it is left as it is; name another folder with -o");
}

Result<std::vector<combine::NamedAdapter>> readAdapters(const std::vector<std::string> &paths) {
  std::vector<combine::NamedAdapter> adapters;
  for (const std::string &given : paths) {
    const std::string path = withoutSlash(given);
    LORAC_TRY_ASSIGN(formats::Adapter adapter, formats::readAdapter(path));
    if (adapter.isAlone)
      sayLine("note: '" + path +
              "' has no adapter_config.json beside it: lora_alpha is taken to be the rank, a scale "
              "of 1");
    if (!adapters.empty() && adapter.baseModel != adapters.front().adapter.baseModel)
      sayLine("note: '" + adapters.front().path + "' calls its base model '" +
              dsl::printable(adapters.front().adapter.baseModel) + "' and '" + path + "' '" +
              dsl::printable(adapter.baseModel) + "'; they are taken for one");
    adapters.push_back({path, std::move(adapter)});
  }
  return adapters;
}

Result<void> combineInto(const CombineOptions &options, const std::string &out) {
  combine::AdapterSum sum;
  LORAC_TRY_ASSIGN(sum.method, methodOf(options.method, combine::adapterMethods()));
  LORAC_TRY(checkWeights(options, options.adapters.size()));
  LORAC_TRY(checkFree(out));
  sum.weights = options.weights;
  LORAC_TRY_ASSIGN(auto adapters, readAdapters(options.adapters));
  if (adapters.size() == 1 && sum.method.name != "linear")
    sayLine("note: there is one adapter, which is scaled by its weight: '" + options.method +
            "' would do no more");
  LORAC_TRY_ASSIGN(formats::Adapter made, combine::combineAdapters(std::move(adapters), sum));
  formats::removeLeftoversOf(out);
  LORAC_TRY(formats::writeAdapterFolder(out, made));
  print(out + ": " + std::to_string(made.modules.size()) + " modules, rank " +
        std::to_string(made.r) + "\n");
  return {};
}

} // namespace

static Exit runCombine(const CombineOptions &options) {
  const Result<void> done = combineInto(options, withoutSlash(options.out));
  return done ? Exit::Done : fail(done.error());
}

static std::string missing(const CombineOptions &options) {
  if (options.adapters.empty())
    return "ADAPTER is missing";
  for (const std::string &message :
       {needs(options.method, "--method"), needs(options.out, "--out")})
    if (!message.empty())
      return message;
  return options.weights.empty() ? "--weights is missing: each adapter takes a number" : "";
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<CombineOptions>();
  app.add_option("ADAPTER", options->adapters, "adapters in PEFT's layout")->type_name("");
  app.add_option("--method", options->method, "linear or cat")->type_name("NAME");
  app.add_option("--weights", options->weights, "a number for each adapter; less than 0 subtracts")
      ->type_name("W...")
      ->delimiter(',');
  app.add_option("-o,--out", options->out, "folder to write")->type_name("DIR");
  return {[options] { return missing(*options); }, [options] { return runCombine(*options); }};
}

const Command commandCombine = {
    "combine", "one adapter from several: a weighted sum",
    R"(| `combine ADAPTER... --method linear\|cat --weights W... -o DIR` | one adapter from several, as PEFT's `add_weighted_adapter` makes it ([combine.md](combine.md)) |)",
    add,
    /*readsSpec=*/false};

} // namespace lorac::tools
