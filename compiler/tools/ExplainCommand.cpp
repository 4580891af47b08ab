// `lorac explain`: what a run will do, before it runs: AdaLoRA's budget by step, rates and bytes by
// tensor.

#include "compiler/tools/Command.h"
#include "compiler/tools/Explanation.h"
#include "compiler/tools/Output.h"
#include "nlohmann/json.hpp"
#include "runtime/train/Schedule.h"
#include "runtime/train/ranks/RebuildPolicy.h"

#include <fmt/format.h>

#include <algorithm>

namespace lorac::tools {
namespace {

struct ExplainOptions {
  SpecInput spec;
  bool json = false;
};

using Json = nlohmann::ordered_json;

/// Allocations shown to a reader, and to a script.
constexpr int64_t rowsShown = 24, rowsInJson = 10000;

/// Columns as wide as they need be: words on the left, numbers (columns from `numbers` on) on the
/// right.
std::string table(const std::vector<std::vector<std::string>> &rows, size_t numbers) {
  std::vector<size_t> widths;
  for (const auto &row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      widths.resize(std::max(widths.size(), row.size()));
      widths[i] = std::max(widths[i], row[i].size());
    }
  std::string text;
  for (const auto &row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string gap(widths[i] - row[i].size(), ' ');
      line += "  " + (i < numbers ? row[i] + gap : gap + row[i]);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string rate(double value) { return fmt::format("{:.6g}", value); }

std::string methodOf(const dsl::Spec &spec) {
  const dsl::AdapterSpec &adapter = spec.adapter;
  std::string name = *adapter.method == dsl::AdapterMethod::AdaLora ? "AdaLoRA"
                     : *adapter.useDora                             ? "DoRA"
                     : *adapter.useGate                             ? "gated LoRA"
                     : *adapter.useRslora                           ? "rsLoRA"
                                                                    : "LoRA";
  if (adapter.loraplus)
    name += name == "LoRA" ? "+" : ", rates as in LoRA+";
  return codebookOf(*spec.quantization.format)
             ? name + " on a base in " + std::string(toString(*spec.quantization.format))
             : name;
}

std::string scheduleOf(const dsl::Spec &spec) {
  const dsl::ScheduleSpec &schedule = spec.schedule;
  std::string text(toString(*schedule.name));
  if (*schedule.minLrRatio > 0)
    text += fmt::format(" to {:g} of the rate", *schedule.minLrRatio);
  int64_t warmup = *schedule.warmupSteps;
  if (*schedule.warmupRatio > 0) {
    if (*spec.train.steps == 0)
      return text + fmt::format(", after a warm-up of {:g} of the steps", *schedule.warmupRatio);
    warmup = train::warmupFromRatio(*schedule.warmupRatio, *spec.train.steps);
  }
  return warmup > 0 ? text + fmt::format(", after {} steps of warm-up", warmup) : text;
}

std::string heading(const Project &project) {
  const dsl::Spec &spec = project.spec;
  const dsl::TrainSpec &t = spec.train;
  const std::string length =
      *t.steps ? grouped(*t.steps) + " steps" : fmt::format("{:g} epochs", *t.epochs);
  const std::string batches =
      *t.gradientAccumulationSteps > 1 ? fmt::format("{} x ", *t.gradientAccumulationSteps) : "";
  return fmt::format("{}: {} on {} modules of a {} of {} layers; {} of at most {}{} x {} tokens\n",
                     spec.path, methodOf(spec), project.adapters.size(), project.model.architecture,
                     project.model.layers, length, batches, *t.batchSize, *t.maxLength);
}

/// What happens to masked triplets.
std::string pruneSentence(dsl::PruneMode mode, int64_t finalStep) {
  switch (mode) {
  case dsl::PruneMode::Mask:
    return "masked triplets keep their places and may come back, as in PEFT: memory and time do "
           "not fall";
  case dsl::PruneMode::Final:
    return fmt::format("as PEFT up to step {}; what is masked there is removed for good",
                       finalStep + 1);
  case dsl::PruneMode::Bucketed:
    return "at each allocation a module keeps its live rank rounded up to a multiple of 8; the "
           "rest is removed for good";
  case dsl::PruneMode::Eager:
    return "what is masked at an allocation is removed for good";
  }
  return "";
}

std::string rebuildSentence(const dsl::AdaLoraSpec &ada) {
  if (*ada.prune == dsl::PruneMode::Mask)
    return "";
  const bool always = *ada.rebuild == dsl::RebuildMode::Always;
  return fmt::format("rebuild = \"{}\": {}; it takes over {} steps later\n", toString(*ada.rebuild),
                     always ? "a smaller program is built, beside the run, at each allocation in "
                              "which triplets die"
                            : "a smaller program is built, beside the run, where it saves more "
                              "than its build costs, and when the ranks stand",
                     train::RebuildPolicy::swapAfter);
}

/// Steps as the run's log and metrics count them, from 1: the schedule's own are one less.
struct Phase {
  const char *name;
  int64_t from, to;
  std::string what;
};

std::vector<Phase> phasesOf(const train::RankSchedule &schedule) {
  const int64_t begin = schedule.tinit + 1, end = schedule.finalStep();
  std::vector<Phase> phases = {{"initial", 1, begin, "all triplets live"}};
  if (begin < end)
    phases.push_back({"budget", begin + 1, end,
                      schedule.deltaT == 1
                          ? std::string("ranks are allocated after every step")
                          : fmt::format("ranks are allocated every {} steps", schedule.deltaT)});
  if (schedule.tfinal > 0)
    phases.push_back({"final", end + 1, schedule.totalSteps,
                      "the last allocation after its first step; then the ranks stand"});
  return phases;
}

std::string budgetText(const Project &project) {
  const dsl::AdaLoraSpec &ada = *project.spec.adapter.adalora;
  const train::RankSchedule schedule = rankSchedule(project);
  const auto modules = double(project.adapters.size());
  auto mean = [&](int64_t budget) { return fmt::format("{:.2f}", double(budget) / modules); };

  std::string text = fmt::format(
      "\nRanks: {} triplets at the start, {} a module on average; {} at the end, {} on average, "
      "with about {} parameters\n",
      grouped(schedule.initBudget), mean(schedule.initBudget), grouped(schedule.targetBudget),
      mean(schedule.targetBudget),
      grouped(static_cast<long long>(double(schedule.targetBudget) *
                                     double(project.ranks->initialParameters) /
                                     double(schedule.initBudget))));
  std::vector<std::vector<std::string>> rows;
  for (const Phase &phase : phasesOf(schedule))
    rows.push_back({phase.name, fmt::format("steps {} to {}", phase.from, phase.to), phase.what});
  text += table(rows, 3);
  text += fmt::format("prune = \"{}\": {}\n", toString(*ada.prune),
                      pruneSentence(*ada.prune, schedule.finalStep()));
  text += rebuildSentence(ada);
  text += fmt::format(
      "orth_reg_weight = {:g}: {} the mean of {} norms of what keeps A and B from "
      "orthogonal is {}the loss\n",
      *ada.orthRegWeight, *ada.orthRegWeight == 0 ? "" : rate(*ada.orthRegWeight) + " x",
      2 * project.adapters.size(), *ada.orthRegWeight == 0 ? "not in " : "added to ");
  if (ada.plateau)
    text += "[adapter.adalora.plateau]: held-out losses delay or hasten it; the curve is that of "
            "losses that go on falling\n";

  const int64_t all = allocations(schedule);
  const std::vector<int64_t> steps = allocationSteps(schedule, rowsShown);
  text += fmt::format(
      "\nThe budget after each allocation{}, steps as the log counts them (from 1; "
      "the schedule's are one less):\n",
      all > int64_t(steps.size()) ? fmt::format(", {} of {}", steps.size(), grouped(all)) : "");
  rows = {{"step", "budget", "mean rank"}};
  for (int64_t step : steps)
    rows.push_back({std::to_string(step + 1), std::to_string(schedule.budget(step)),
                    mean(schedule.budget(step))});
  return text + table(rows, 0);
}

std::string scaleText(const Project &project) {
  const bool adalora = project.ranks.has_value();
  std::vector<std::vector<std::string>> rows;
  std::vector<const dsl::AdapterChoice *> kinds;
  std::vector<int64_t> counts;
  for (const dsl::AdapterChoice &choice : project.adapters) {
    size_t kind = 0;
    while (kind < kinds.size() &&
           (kinds[kind]->alpha != choice.alpha || kinds[kind]->r != choice.r))
      ++kind;
    if (kind == kinds.size()) {
      kinds.push_back(&choice);
      counts.push_back(0);
    }
    ++counts[kind];
  }
  std::string text = adalora ? "\nScale: lora_alpha / (init_r + 1e-5), to the end, whatever the "
                               "ranks fall to\n"
                     : *project.spec.adapter.useRslora ? "\nScale: lora_alpha / sqrt(r)\n"
                                                       : "\nScale: lora_alpha / r\n";
  for (size_t i = 0; i < kinds.size(); ++i) {
    const dsl::AdapterChoice &kind = *kinds[i];
    rows.push_back(
        {fmt::format("{:.6g}", kind.scale),
         fmt::format("lora_alpha {:g}, {} {}", kind.alpha, adalora ? "init_r" : "r", kind.r),
         fmt::format("{} modules", counts[i]),
         adalora ? fmt::format("(LoRA's habit is 1 to 2: lora_alpha {} to {})", kind.r, 2 * kind.r)
                 : ""});
  }
  return text + table(rows, 4);
}

std::string shape(const std::vector<int64_t> &sizes) {
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

bool hasNoRank(formats::AdapterPart part) {
  return part == formats::AdapterPart::Magnitude || part == formats::AdapterPart::Gate;
}

std::string rankOf(const TrainedTensor &tensor) {
  if (hasNoRank(tensor.part))
    return "";
  std::string text = std::to_string(tensor.rank);
  if (tensor.least > 0 || tensor.most < tensor.rank)
    if (tensor.least != tensor.rank)
      text += fmt::format(" ({} to {})", tensor.least, tensor.most);
  return text;
}

std::string tensorText(const Project &project, const Explanation &all) {
  std::string text = fmt::format("\nRates: {}, {}\n", toString(*project.spec.optimizer.name),
                                 scheduleOf(project.spec));
  std::vector<std::vector<std::string>> rows = {{"group", "learning rate", "weight decay"}};
  for (const RateGroup &group : all.groups)
    rows.push_back(
        {std::string(toString(group.part)),
         rate(group.learningRate) + (group.ratio == 1 ? "" : fmt::format(" ({:g} x)", group.ratio)),
         rate(*project.spec.optimizer.weightDecay)});
  text += table(rows, 1);

  text += fmt::format(
      "\nTensors, float32; bytes of parameters, gradients, optimizer states{}{}:\n",
      all.min8bitSize > 0 ? fmt::format(" (8 bits from {} numbers on)", all.min8bitSize) : "",
      all.adalora ? ", importance (two averages) and, of lora_B, one more copy" : "");
  rows = {
      {"tensor", "shape", "rank", "scale", "learning rate", "weight decay", "parameters", "bytes"}};
  for (const TensorGroup &group : all.grouped()) {
    const TrainedTensor &tensor = group.first;
    rows.push_back({group.name(), shape(tensor.shape), rankOf(tensor),
                    hasNoRank(tensor.part) ? "" : rate(tensor.scale), rate(tensor.learningRate),
                    rate(tensor.weightDecay), tools::grouped(group.count()),
                    tools::grouped(all.bytes(tensor).total() * group.tensors())});
  }
  text += table(rows, 1);

  const TrainedBytes sum = all.bytes();
  text += fmt::format(
      "\nIn all {} tensors of {} parameters: {} ({} parameters, {} gradients, {} optimizer states",
      all.tensors.size(), tools::grouped(all.parameters()), binaryBytes(double(sum.total())),
      binaryBytes(double(sum.params)), binaryBytes(double(sum.grads)),
      binaryBytes(double(sum.states)));
  if (all.adalora)
    text += fmt::format(", {} importance, {} lora_B again", binaryBytes(double(sum.importance)),
                        binaryBytes(double(sum.unfolded)));
  return text + ")\n";
}

Json asJson(const TrainedBytes &bytes, bool adalora) {
  Json json = {
      {"parameters", bytes.params}, {"gradients", bytes.grads}, {"optimizer_states", bytes.states}};
  if (adalora) {
    json["importance"] = bytes.importance;
    json["unfolded"] = bytes.unfolded;
  }
  json["total"] = bytes.total();
  return json;
}

Json ranksJson(const Project &project) {
  const dsl::AdaLoraSpec &ada = *project.spec.adapter.adalora;
  const train::RankSchedule schedule = rankSchedule(project);
  Json phases = Json::array(), curve = Json::array();
  for (const Phase &phase : phasesOf(schedule))
    phases.push_back({{"name", phase.name}, {"from", phase.from}, {"to", phase.to}});
  for (int64_t step : allocationSteps(schedule, rowsInJson))
    curve.push_back(
        {{"step", step + 1},
         {"schedule_step", step},
         {"budget", schedule.budget(step)},
         {"mean_rank", double(schedule.budget(step)) / double(project.adapters.size())}});
  return {{"initial", schedule.initBudget},
          {"target", schedule.targetBudget},
          {"prune", toString(*ada.prune)},
          {"rebuild", toString(*ada.rebuild)},
          {"orth_reg_weight", *ada.orthRegWeight},
          {"plateau", ada.plateau.has_value()},
          {"phases", phases},
          {"allocations", allocations(schedule)},
          {"curve", curve}};
}

std::string jsonText(const Project &project, const Explanation &all,
                     const dsl::Diagnostics &diags) {
  Json json = {{"spec", project.spec.path},
               {"method", toString(*project.spec.adapter.method)},
               {"modules", project.adapters.size()},
               {"steps", *project.spec.train.steps}};
  if (*project.spec.adapter.useDora)
    json["use_dora"] = true;
  if (*project.spec.adapter.useGate)
    json["use_gate"] = true;
  if (project.ranks)
    json["ranks"] = ranksJson(project);
  json["groups"] = Json::array();
  for (const RateGroup &group : all.groups)
    json["groups"].push_back({{"name", toString(group.part)},
                              {"learning_rate", group.learningRate},
                              {"ratio", group.ratio},
                              {"weight_decay", *project.spec.optimizer.weightDecay}});
  json["tensors"] = Json::array();
  for (const TrainedTensor &tensor : all.tensors) {
    Json entry = {{"name", fmt::format("{}.{}", tensor.module, toString(tensor.part))},
                  {"shape", tensor.shape},
                  {"rank", tensor.rank}};
    if (all.adalora) {
      entry["min_r"] = tensor.least;
      entry["max_r"] = tensor.most;
    }
    entry["lora_alpha"] = tensor.alpha;
    entry["scale"] = tensor.scale;
    entry["learning_rate"] = tensor.learningRate;
    entry["weight_decay"] = tensor.weightDecay;
    entry["bytes"] = asJson(all.bytes(tensor), all.adalora);
    json["tensors"].push_back(std::move(entry));
  }
  json["parameters"] = all.parameters();
  json["bytes"] = asJson(all.bytes(), all.adalora);
  json["warnings"] = Json::array();
  for (const dsl::Diagnostic &diagnostic : diags.all())
    json["warnings"].push_back(diagnostic.message);
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

} // namespace

static Exit runExplain(const ExplainOptions &options) {
  Project project;
  dsl::Diagnostics diags;
  const Exit code = loadProject(options.spec, project, diags);
  if (code == Exit::Done)
    warnOfScales(project, diags);
  if (std::string text = diags.text(); !text.empty())
    sayLine(text);
  if (code != Exit::Done)
    return code;
  const Explanation all = explain(project);
  if (options.json)
    print(jsonText(project, all, diags));
  else
    print(heading(project) + (project.ranks ? budgetText(project) : "") + scaleText(project) +
          tensorText(project, all));
  return Exit::Done;
}

static Action add(CLI::App &app) {
  auto options = std::make_shared<ExplainOptions>();
  addSpec(app, options->spec);
  app.add_flag("--json", options->json, "print JSON, an entry a tensor");
  return {[options] { return needs(options->spec.path, "SPEC"); },
          [options] { return runExplain(*options); }};
}

const Command commandExplain = {
    "explain", "what a run will do: AdaLoRA's budget by step; rates and bytes by tensor",
    R"(| `explain SPEC` | what the run will do: AdaLoRA's phases and its budget after each allocation, scales, and of each tensor rank, learning rate, weight decay and bytes |)",
    add};

} // namespace lorac::tools
