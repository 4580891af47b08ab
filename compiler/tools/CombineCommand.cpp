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
#include <initializer_list>
#include <optional>

namespace fs = std::filesystem;

namespace lorac::tools {
namespace {

struct CombineOptions {
  std::vector<std::string> adapters;
  std::string method, out, majority;
  std::vector<double> weights;
  std::optional<double> density;
  std::optional<int64_t> svdRank;
  std::optional<uint64_t> seed;
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

/// A flag that says nothing to a method is a mistake.
struct Flag {
  const char *name;
  bool given, used;
};
Result<void> checkFlags(const std::string &method, std::initializer_list<Flag> flags) {
  for (const Flag &flag : flags)
    if (flag.given && !flag.used)
      return usage(std::string(flag.name) + " says nothing to '" + method + "'; leave it out");
  return {};
}

Result<void> checkDensity(const CombineOptions &options, bool used) {
  if (used && !options.density)
    return usage("--density is missing: the part of each tensor that '" + options.method +
                 "' keeps, above 0 and at most 1");
  if (options.density && !(*options.density > 0 && *options.density <= 1))
    return usage("--density must be above 0 and at most 1");
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

Result<combine::AdapterSum> sumOf(const CombineOptions &options) {
  using combine::Pruning;
  combine::AdapterSum sum;
  LORAC_TRY_ASSIGN(sum.method, methodOf(options.method, combine::adapterMethods()));
  const bool prunes = sum.method.pruning != Pruning::None;
  LORAC_TRY(checkFlags(
      options.method,
      {{"--density", options.density.has_value(), prunes},
       {"--majority-sign-method", !options.majority.empty(), sum.method.elects},
       {"--svd-rank", options.svdRank.has_value(), sum.method.form == combine::AdapterForm::Update},
       {"--seed", options.seed.has_value(), sum.method.pruning == Pruning::Random}}));
  LORAC_TRY(checkDensity(options, prunes));
  LORAC_TRY(checkWeights(options, options.adapters.size()));
  sum.weights = options.weights;
  sum.density = options.density.value_or(1);
  sum.svdRank = options.svdRank.value_or(0);
  sum.seed = options.seed.value_or(0);
  if (options.majority == "frequency")
    sum.majority = combine::MajoritySign::Frequency;
  return sum;
}

Result<void> combineInto(const CombineOptions &options, const std::string &out) {
  LORAC_TRY_ASSIGN(const combine::AdapterSum sum, sumOf(options));
  LORAC_TRY(checkFree(out));
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
  std::string methods;
  for (const combine::AdapterMethod &method : combine::adapterMethods())
    methods += (methods.empty() ? "" : ", ") + std::string(method.name);
  app.add_option("--method", options->method, methods)->type_name("NAME");
  app.add_option("--weights", options->weights, "a number for each adapter; less than 0 subtracts")
      ->type_name("W...")
      ->delimiter(',');
  app.add_option("--density", options->density,
                 "the part of each tensor that ties, dare and magnitude_prune keep")
      ->type_name("D");
  app.add_option("--majority-sign-method", options->majority,
                 "what decides on a sign of ties: the sum (total) or the count (frequency) [total]")
      ->type_name("NAME")
      ->check(CLI::IsMember({"total", "frequency"}));
  app.add_option("--svd-rank", options->svdRank,
                 "rank that the methods ending in svd make [the adapters' largest]")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--seed", options->seed, "of what dare draws [0]")->type_name("N");
  app.add_option("-o,--out", options->out, "folder to write")->type_name("DIR");
  return {[options] { return missing(*options); }, [options] { return runCombine(*options); }};
}

const Command commandCombine = {
    "combine", "one adapter from several: a weighted sum",
    R"(| `combine ADAPTER... --method NAME --weights W... -o DIR` | one adapter from several, as PEFT's `add_weighted_adapter` makes it, by any of its combination types ([combine.md](combine.md)) |)",
    add,
    /*readsSpec=*/false};

} // namespace lorac::tools
