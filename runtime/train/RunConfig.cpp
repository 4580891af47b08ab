#include "runtime/train/RunConfig.h"

#include "dsl/Spec.h"
#include "runtime/train/JsonFields.h"

#include <algorithm>
#include <array>
#include <limits>

namespace lorac::train {

namespace {

/// A visitor (dsl/Spec.h): takes each key's value from run.json. A key that is not there is an
/// error where the spec's writer writes it; else it has the declared default.
class RunReader {
public:
  explicit RunReader(Fields in) : in(std::move(in)) {}

  template <class T>
  void operator()(const char *key, dsl::Field<T> &field, const dsl::About &about) {
    if (!has(key, about.written && about.inJson))
      return;
    field.range = given();
    set(key, field.value, about);
    if (about.stated && !in.truthOr((key + std::string("_stated")).c_str(), true))
      field.range = {};
  }
  void pair(const char *key, dsl::Field<double> &first, dsl::Field<double> &second,
            const dsl::About &about) {
    if (!has(key, about.written))
      return;
    std::vector<double> numbers;
    in.at(key).forEach([&](const Fields &one) {
      numbers.push_back(0);
      take(one, one.asNumber(), numbers.back(), about);
    });
    if (numbers.size() != 2)
      return in.at(key).fail("is not two numbers");
    first.value = numbers[0], second.value = numbers[1];
  }
  template <class T>
  void table(const char *key, T &table, const dsl::About &) {
    read(in.at(key), table);
  }
  template <class T>
  void table(const char *key, std::optional<T> &table, const dsl::About &about) {
    if (has(key, about.written))
      read(in.at(key), table.emplace());
  }
  template <class T>
  void tables(const char *key, std::vector<T> &tables, const dsl::About &about) {
    if (has(key, about.written))
      in.at(key).forEach([&](const Fields &one) { read(one, tables.emplace_back()); });
  }

private:
  template <class T>
  static void read(const Fields &from, T &table) {
    RunReader reader(from);
    T::keys(reader, table);
  }

  bool has(const char *key, bool required) const {
    if (!in.has(key) && required)
      in.at(key); // which says so
    return in.has(key);
  }

  static dsl::SourceRange given() {
    static const auto file = std::make_shared<dsl::SourceFile>("run.json", "");
    return {file, 1, 1, 1, 1};
  }

  /// What does not fit is an error and is not taken, so that all that follows may count with it.
  template <class T>
  static void take(const Fields &from, T value, T &to, const dsl::About &about) {
    if (about.bounds.fit(value))
      to = value;
    else
      from.fail("is " + from.json().dump() + ", which its bounds (docs/spec.md) leave out");
  }

  void set(const char *key, bool &to, const dsl::About &) const { to = in.truthOr(key, to); }
  void set(const char *key, int64_t &to, const dsl::About &about) const {
    const Fields from = in.at(key);
    take(from, from.asInteger(std::numeric_limits<int64_t>::min()), to, about);
  }
  void set(const char *key, uint64_t &to, const dsl::About &) const {
    to = uint64_t(in.integer(key));
  }
  void set(const char *key, double &to, const dsl::About &about) const {
    take(in.at(key), in.at(key).asNumber(), to, about);
  }
  void set(const char *key, std::string &to, const dsl::About &) const { to = in.text(key); }
  void set(const char *key, std::vector<dsl::Field<std::string>> &to, const dsl::About &) const {
    to.clear();
    const Fields list = in.at(key);
    if (list.json().is_string())
      to.push_back({list.asText(), given()});
    else
      list.forEach([&](const Fields &one) { to.push_back({one.asText(), given()}); });
  }
  void set(const char *, std::vector<dsl::ShapeEntry> &, const dsl::About &) const {}
  template <class E>
  void set(const char *key, E &to, const dsl::About &) const {
    const std::string text = in.text(key);
    std::string known;
    int index = 0;
    for (std::string_view word : dsl::Words<E>::list) {
      if (word == text) {
        to = static_cast<E>(index);
        return;
      }
      known += (index++ ? ", " : "") + std::string(word);
    }
    in.fail("has " + std::string(key) + " = '" + text + "'; known: " + known);
  }

  Fields in;
};

AdaLoraConfig adaLoraOf(const dsl::AdaLoraSpec &spec) {
  AdaLoraConfig out;
  out.tinit = *spec.tinit;
  out.tfinal = *spec.tfinal;
  out.deltaT = *spec.deltaT;
  out.beta1 = *spec.beta1;
  out.beta2 = *spec.beta2;
  out.orthRegWeight = *spec.orthRegWeight;
  out.rebuildAlways = *spec.rebuild == dsl::RebuildMode::Always;
  out.prune = *spec.prune;
  if (spec.plateau)
    out.plateau =
        PlateauSettings{*spec.plateau->patience, *spec.plateau->minDelta, *spec.plateau->stretch};
  return out;
}

DataConfig dataOf(const dsl::DataSpec &spec) {
  DataConfig out;
  out.name = *spec.name;
  for (const dsl::Field<std::string> &path : *spec.path)
    out.paths.push_back(*path);
  out.format = toString(*spec.format);
  out.formatStated = spec.format.given();
  out.separator = *spec.separator;
  out.evalFraction = *spec.evalFraction;
  out.overlong = toString(*spec.overlong);
  return out;
}

void flatten(const Json &root, std::vector<std::pair<std::string, std::string>> &out) {
  std::vector<std::pair<std::string, const Json *>> todo = {{"", &root}};
  while (!todo.empty()) {
    auto [path, value] = todo.back();
    todo.pop_back();
    if (value->is_object() || value->is_array()) {
      size_t index = 0;
      for (auto it = value->begin(); it != value->end(); ++it, ++index)
        todo.emplace_back(value->is_object() ? (path.empty() ? it.key() : path + "." + it.key())
                                             : path + "[" + std::to_string(index) + "]",
                          &*it);
      if (value->empty())
        out.emplace_back(path, value->dump());
      continue;
    }
    out.emplace_back(path, value->dump(-1, ' ', false, nlohmann::detail::error_handler_t::replace));
  }
}

} // namespace

Result<RunConfig> parseRunConfig(std::string_view text) {
  LORAC_TRY_ASSIGN(Json json, parseJson(text, "run.json"));
  std::string error;
  Fields root(json, "", error);
  dsl::Spec spec;
  RunReader reader(root);
  dsl::Spec::keys(reader, spec);

  RunConfig run;
  run.json = std::string(text);
  run.spec = root.textOr("spec", "");
  run.specDir = root.textOr("spec_dir", "");
  run.modelSource = *spec.model.source;
  if (Fields model = root.maybe("model"); model.has("identity")) {
    Result<formats::ModelIdentity> identity =
        formats::parseModelIdentity(model.at("identity").json().dump());
    if (!identity)
      return Error{"run.json: " + identity.error().message, identity.error().code};
    run.identity = std::move(*identity);
  }

  const dsl::AdapterSpec &adapter = spec.adapter;
  const bool isAdaLora = *adapter.method == dsl::AdapterMethod::AdaLora && adapter.adalora;
  run.adapterMethod = toString(*adapter.method);
  run.initFrom = *adapter.initFrom;
  run.r = isAdaLora ? *adapter.adalora->initR : *adapter.r;
  run.loraAlpha = *adapter.loraAlpha;
  run.loraDropout = *adapter.loraDropout;
  run.useRslora = *adapter.useRslora;
  run.useDora = *adapter.useDora;
  run.useGate = *adapter.useGate;
  if (adapter.loraplus)
    run.loraPlusRatio = *adapter.loraplus->lrRatio;
  if (isAdaLora)
    run.adalora = adaLoraOf(*adapter.adalora);

  const dsl::OptimizerSpec &optimizer = spec.optimizer;
  const dsl::OptimizerDefaults &has = defaultsOf(*optimizer.name);
  run.optimizer = toString(*optimizer.name);
  run.learningRate = *optimizer.learningRate;
  if (has.hasBetas())
    run.betas = {*optimizer.beta1, *optimizer.beta2};
  run.eps = has.eps > 0 ? *optimizer.eps : 0;
  run.weightDecay = *optimizer.weightDecay;
  run.maxGradNorm = *optimizer.maxGradNorm;

  const dsl::ScheduleSpec &schedule = spec.schedule;
  run.schedule = {*schedule.name, *schedule.minLrRatio};
  run.warmupSteps = schedule.warmupRatio.given() ? 0 : *schedule.warmupSteps;
  run.warmupRatio = *schedule.warmupRatio;

  for (const dsl::DataSpec &data : spec.data)
    run.data.push_back(dataOf(data));
  if (run.data.empty())
    root.at("data").fail("is empty");

  const dsl::TrainSpec &train = spec.train;
  run.outputDir = *train.outputDir;
  run.steps = *train.steps;
  run.epochs = *train.epochs;
  if (run.steps == 0 && run.epochs == 0)
    root.at("train").fail("needs steps or epochs");
  run.batchSize = *train.batchSize;
  run.maxLength = *train.maxLength;
  run.accumulation = *train.gradientAccumulationSteps;
  run.packing = *train.packing;
  run.seed = uint64_t(*train.seed);
  run.evalSteps = *train.evalSteps;
  run.saveSteps = *train.saveSteps;
  run.saveTotalLimit = *train.saveTotalLimit;
  run.loggingSteps = *train.loggingSteps;
  run.threads = *spec.target.threads;
  run.memory = *spec.target.memory;
  if (run.adalora && (run.steps == 0 || run.adalora->tinit >= run.steps - run.adalora->tfinal))
    root.at("train").fail("has no step in which AdaLoRA's ranks fall");
  if (!error.empty())
    return Error{"run.json: " + error + "; compile the spec again", Exit::ForeignFile};
  return run;
}

std::vector<std::pair<std::string, std::string>> fingerprint(const RunConfig &config) {
  constexpr std::string_view ignored[] = {
      "spec",
      "spec_dir",
      "model.source",
      "model.identity", // compared by itself
      "adapter.init_from",
      "train.output_dir",
      "train.eval_steps",
      "train.save_steps",
      "train.save_total_limit",
      "train.logging_steps",
      "train.steps",
      "train.epochs",
      "target",
  };
  std::vector<std::pair<std::string, std::string>> keys, kept;
  if (Result<Json> json = parseJson(config.json, "run.json"))
    flatten(*json, keys);
  for (auto &key : keys) {
    std::string_view path = key.first;
    // Where the held-out loss sets the pace of pruning, when it is measured counts too.
    if (path == "train.eval_steps" && config.adalora && config.adalora->plateau) {
      kept.push_back(std::move(key));
      continue;
    }
    bool isPath = path.rfind("data[", 0) == 0 && (path.find("].path") != std::string_view::npos ||
                                                  path.ends_with("].format_stated"));
    bool skip = std::any_of(std::begin(ignored), std::end(ignored), [&](std::string_view prefix) {
      return path.substr(0, prefix.size()) == prefix &&
             (path.size() == prefix.size() || path[prefix.size()] == '.' ||
              path[prefix.size()] == '[');
    });
    if (!isPath && !skip)
      kept.push_back(std::move(key));
  }
  std::sort(kept.begin(), kept.end());
  return kept;
}

} // namespace lorac::train
