// `lorac combine`: one adapter from several, as PEFT's add_weighted_adapter makes it, or one model
// from several, as mergekit does.

#include "compiler/tools/CombinedModel.h"
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
  std::vector<std::string> adapters, models; ///< of one kind
  std::string base;                          ///< of models
  std::string method, out, majority, normalize;
  std::vector<double> weights, densities;
  std::optional<double> lambda, gamma, t;
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

/// A number for each of `count`.
Result<void> checkWeights(const CombineOptions &options, size_t count, const char *what) {
  if (options.weights.size() != count)
    return usage("--weights has " + std::to_string(options.weights.size()) + " for " +
                 std::to_string(count) + " " + what + "; each takes one, in their order");
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

/// One number for all, or one for each of `most`.
Result<void> checkDensity(const CombineOptions &options, bool used, size_t most) {
  const size_t given = options.densities.size();
  if (used && given == 0)
    return usage("--density is missing: the part of each tensor that '" + options.method +
                 "' keeps, above 0 and at most 1");
  if (given > 1 && given != most)
    return usage("--density has " + std::to_string(given) + " numbers; it takes " +
                 (most > 1 ? "one, or one for each of the " + std::to_string(most) : "one"));
  for (const double density : options.densities)
    if (!(density > 0 && density <= 1))
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
    adapters.push_back({path, std::move(adapter)});
    const combine::NamedAdapter &first = adapters.front(), &last = adapters.back();
    const std::string &base = first.adapter.baseModel, &other = last.adapter.baseModel;
    if (!base.empty() && !other.empty() && base != other)
      sayLine("note: '" + first.path + "' calls its base model '" + dsl::printable(base) +
              "' and '" + last.path + "' '" + dsl::printable(other) + "'; they are taken for one");
  }
  return adapters;
}

Result<combine::AdapterSum> adapterSum(const CombineOptions &options) {
  using combine::Pruning;
  combine::AdapterSum sum;
  LORAC_TRY_ASSIGN(sum.method, methodOf(options.method, combine::adapterMethods()));
  const bool prunes = sum.method.pruning != Pruning::None;
  LORAC_TRY(checkFlags(
      options.method,
      {{"--density", !options.densities.empty(), prunes},
       {"--majority-sign-method", !options.majority.empty(), sum.method.elects},
       {"--svd-rank", options.svdRank.has_value(), sum.method.form == combine::AdapterForm::Update},
       {"--seed", options.seed.has_value(), sum.method.pruning == Pruning::Random},
       {"--base", !options.base.empty(), false},
       {"--normalize", !options.normalize.empty(), false},
       {"--lambda", options.lambda.has_value(), false},
       {"--gamma", options.gamma.has_value(), false},
       {"--t", options.t.has_value(), false}}));
  LORAC_TRY(checkDensity(options, prunes, 1));
  LORAC_TRY(checkWeights(options, options.adapters.size(), "adapters"));
  sum.weights = options.weights;
  if (prunes)
    sum.density = options.densities.front();
  sum.svdRank = options.svdRank.value_or(0);
  sum.seed = options.seed.value_or(0);
  if (options.majority == "frequency")
    sum.majority = combine::MajoritySign::Frequency;
  return sum;
}

Result<void> combineAdapters(const CombineOptions &options, const std::string &out) {
  LORAC_TRY_ASSIGN(const combine::AdapterSum sum, adapterSum(options));
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

/// Numbers that a sum of models has beside its weights.
Result<void> checkNumbers(const CombineOptions &options, const combine::ModelMethod &method) {
  const bool slerps = method.form == combine::ModelForm::Slerp;
  if (slerps && options.models.size() != 2)
    return usage("'slerp' goes from one model to another: --models takes two");
  if (slerps && !(options.t && *options.t >= 0 && *options.t <= 1))
    return usage("'slerp' needs --t, from 0 (the first model) to 1 (the second)");
  if (options.gamma && !(*options.gamma >= 0 && *options.gamma < 1))
    return usage("--gamma must be at least 0 and below 1");
  if (options.lambda && !std::isfinite(*options.lambda))
    return usage("--lambda must be a finite number");
  if (method.form == combine::ModelForm::TaskVectors && options.base.empty())
    return usage("--base is missing: '" + options.method +
                 "' adds differences from the model that the others were trained from");
  return {};
}

Result<combine::ModelSum> modelSum(const CombineOptions &options) {
  using combine::ModelForm, combine::Pruning;
  combine::ModelSum sum;
  LORAC_TRY_ASSIGN(sum.method, methodOf(options.method, combine::modelMethods()));
  const bool prunes = sum.method.pruning != Pruning::None;
  const bool slerps = sum.method.form == ModelForm::Slerp;
  LORAC_TRY(checkFlags(
      options.method,
      {{"--weights", !options.weights.empty(), !slerps},
       {"--density", !options.densities.empty(), prunes},
       {"--normalize", !options.normalize.empty(), !slerps},
       {"--lambda", options.lambda.has_value(), sum.method.form == ModelForm::TaskVectors},
       {"--gamma", options.gamma.has_value(), sum.method.pruning == Pruning::Outliers},
       {"--t", options.t.has_value(), slerps},
       {"--seed", options.seed.has_value(), sum.method.pruning == Pruning::Random},
       {"--majority-sign-method", !options.majority.empty(), false},
       {"--svd-rank", options.svdRank.has_value(), false}}));
  LORAC_TRY(checkNumbers(options, sum.method));
  LORAC_TRY(checkDensity(options, prunes, options.models.size()));
  if (!slerps)
    LORAC_TRY(checkWeights(options, options.models.size(), "models"));
  sum.weights = options.weights;
  sum.densities = options.densities;
  if (sum.densities.size() == 1)
    sum.densities.resize(options.models.size(), sum.densities.front());
  sum.normalize = options.normalize.empty() ? sum.method.normalizes : options.normalize == "true";
  sum.lambda = options.lambda.value_or(sum.lambda);
  sum.gamma = options.gamma.value_or(sum.gamma);
  sum.t = options.t.value_or(0);
  double all = 0;
  for (const double weight : sum.weights)
    all += weight;
  if (sum.method.form == ModelForm::Weights && sum.normalize && std::abs(all) < 1e-8)
    return usage("--weights have the sum 0, by which 'linear' divides; --normalize false leaves "
                 "the sum as it is");
  return sum;
}

Result<void> combineModels(const CombineOptions &options, const std::string &out) {
  LORAC_TRY_ASSIGN(const combine::ModelSum sum, modelSum(options));
  LORAC_TRY(checkFree(out));
  LORAC_TRY_ASSIGN(const ModelSet models, ModelSet::open(options.base, options.models));
  formats::removeLeftoversOf(out);
  LORAC_TRY_ASSIGN(const size_t tensors, models.write(out, sum, options.seed.value_or(0)));
  print(out + ": " + std::to_string(tensors) + " tensors of " +
        std::to_string(options.models.size()) + " models\n");
  return {};
}

} // namespace

static Exit runCombine(const CombineOptions &options) {
  const std::string out = withoutSlash(options.out);
  const Result<void> done =
      options.models.empty() ? combineAdapters(options, out) : combineModels(options, out);
  return done ? Exit::Done : fail(done.error());
}

static std::string missing(const CombineOptions &options) {
  if (options.adapters.empty() && options.models.empty())
    return "ADAPTER is missing, or --models";
  if (!options.adapters.empty() && !options.models.empty())
    return "adapters and --models are combined apart: name one kind";
  for (const std::string &message :
       {needs(options.method, "--method"), needs(options.out, "--out")})
    if (!message.empty())
      return message;
  return options.weights.empty() && options.method != "slerp"
             ? "--weights is missing: a number for each adapter or model"
             : "";
}

template <typename Method>
static std::string namesOf(std::span<const Method> methods) {
  std::string names;
  for (const Method &method : methods)
    names += (names.empty() ? "" : ", ") + std::string(method.name);
  return names;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<CombineOptions>();
  app.add_option("ADAPTER", options->adapters, "adapters in PEFT's layout")->type_name("");
  app.add_option("--models", options->models, "instead: Hugging Face folders of one architecture")
      ->type_name("DIR...");
  app.add_option("--base", options->base,
                 "of models: what they were trained from, and whose config.json, tokenizer and "
                 "types the new one has [the first model]")
      ->type_name("DIR");
  app.add_option("--method", options->method,
                 "of adapters: " + namesOf(combine::adapterMethods()) +
                     "; of models: " + namesOf(combine::modelMethods()))
      ->type_name("NAME");
  app.add_option("--weights", options->weights,
                 "a number for each adapter or model; less than 0 subtracts")
      ->type_name("W...")
      ->delimiter(',');
  app.add_option(
         "--density", options->densities,
         "the part of each tensor that ties, dare, magnitude_prune and breadcrumbs keep; of "
         "models also one for each")
      ->type_name("D...")
      ->delimiter(',');
  app.add_option("--majority-sign-method", options->majority,
                 "what decides on a sign of adapters' ties: the sum (total) or the count "
                 "(frequency) [total]")
      ->type_name("NAME")
      ->check(CLI::IsMember({"total", "frequency"}));
  app.add_option("--svd-rank", options->svdRank,
                 "rank that the methods ending in svd make [the adapters' largest]")
      ->type_name("N")
      ->check(CLI::Range(int64_t(1), int64_t(1) << 31));
  app.add_option("--normalize", options->normalize,
                 "of models: whether a sum is divided by its weights [linear and ties: true]")
      ->type_name("TRUTH")
      ->check(CLI::IsMember({"true", "false"}));
  app.add_option("--lambda", options->lambda, "what the models' sum of differences is times [1]")
      ->type_name("X");
  app.add_option("--gamma", options->gamma,
                 "the part of each tensor that breadcrumbs take off at the top [0.01]")
      ->type_name("G");
  app.add_option("--t", options->t, "where slerp ends, from 0 (the first model) to 1")
      ->type_name("T");
  app.add_option("--seed", options->seed, "of what dare draws [0]")->type_name("N");
  app.add_option("-o,--out", options->out, "folder to write")->type_name("DIR");
  return {[options] { return missing(*options); }, [options] { return runCombine(*options); }};
}

const Command commandCombine = {
    "combine", "one adapter from several, or one model: weighted sums",
    R"(| `combine ADAPTER... --method NAME --weights W... -o DIR` | one adapter from several, as PEFT's `add_weighted_adapter` makes it, by any of its combination types ([combine.md](combine.md)) |
| `combine --models DIR... --base DIR --method NAME --weights W... -o DIR` | one model from several of one architecture, by mergekit's rules ([combine.md](combine.md#models)) |)",
    add,
    /*readsSpec=*/false};

} // namespace lorac::tools
