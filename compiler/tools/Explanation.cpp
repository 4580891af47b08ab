#include "compiler/tools/Explanation.h"

#include "compiler/optimizers/States.h"

#include "runtime/train/ParamGroups.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace lorac::tools {
namespace {

/// A weight of the model and the layer of a module.
struct Place {
  const dsl::BoundWeight *weight = nullptr;
  int64_t layer = -1;
};

std::map<std::string, Place> places(const dsl::BoundModel &model) {
  std::map<std::string, Place> out;
  for (const dsl::BoundWeight &weight : model.weights)
    for (int64_t layer = 0;
         weight.shape.size() == 2 && layer < (weight.perLayer ? model.layers : 1); ++layer)
      out[weight.module(layer)] = {&weight, weight.perLayer ? layer : -1};
  return out;
}

std::string patternOf(const dsl::BoundWeight &weight) {
  std::string name = weight.hfTemplate;
  if (name.ends_with(".weight"))
    name.resize(name.size() - 7);
  return name;
}

/// The rates by group, as the run itself makes them.
std::vector<RateGroup> ratesOf(const dsl::Spec &spec, const std::vector<TrainedTensor> &tensors) {
  train::Plan plan;
  for (const TrainedTensor &tensor : tensors) {
    train::PlanParam param;
    param.part = tensor.part;
    param.shape = tensor.shape;
    plan.params.push_back(param);
  }
  const double ratio = spec.adapter.loraplus ? *spec.adapter.loraplus->lrRatio : 1;
  std::vector<RateGroup> out;
  for (const train::ParamGroup &group : train::makeGroups(plan, ratio))
    out.push_back({group.part, group.lrRatio, *spec.optimizer.learningRate * group.lrRatio});
  return out;
}

/// Whether two tensors are told apart by their layer alone.
bool alike(const TrainedTensor &a, const TrainedTensor &b) {
  return a.pattern == b.pattern && a.layer >= 0 && a.part == b.part && a.shape == b.shape &&
         a.least == b.least && a.most == b.most && a.alpha == b.alpha && a.scale == b.scale &&
         a.learningRate == b.learningRate;
}

} // namespace

int64_t TrainedTensor::count() const {
  int64_t product = 1;
  for (int64_t size : shape)
    product *= size;
  return product;
}

std::string shownLayers(const std::vector<int64_t> &layers) {
  std::string list;
  for (size_t i = 0; i < layers.size();) {
    size_t end = i + 1;
    while (end < layers.size() && layers[end] == layers[end - 1] + 1)
      ++end;
    list += (list.empty() ? "" : ",") + std::to_string(layers[i]);
    if (end - i == 2)
      list += "," + std::to_string(layers[end - 1]);
    else if (end - i > 2)
      list += ".." + std::to_string(layers[end - 1]);
    i = end;
  }
  return layers.size() == 1 ? list : "{" + list + "}";
}

std::string TensorGroup::name() const {
  std::string name = first.pattern;
  if (size_t at = name.find("{layer}"); at != std::string::npos && !layers.empty())
    name.replace(at, 7, shownLayers(layers));
  return fmt::format("{}.{}", name, toString(first.part));
}

int64_t Explanation::parameters() const {
  int64_t sum = 0;
  for (const TrainedTensor &tensor : tensors)
    sum += tensor.count();
  return sum;
}

std::vector<TensorGroup> Explanation::grouped() const {
  std::vector<TensorGroup> out;
  for (const TrainedTensor &tensor : tensors) {
    auto group = std::find_if(out.begin(), out.end(),
                              [&](const TensorGroup &group) { return alike(group.first, tensor); });
    if (group == out.end())
      group = out.insert(out.end(), {tensor, {}});
    if (tensor.layer >= 0)
      group->layers.push_back(tensor.layer);
  }
  return out;
}

TrainedBytes Explanation::bytes(const TrainedTensor &tensor) const {
  const int64_t floats = 4 * tensor.count();
  const bool codes = std::any_of(tensors.begin(), tensors.end(), [&](const TrainedTensor &of) {
    return of.count() >= min8bitSize;
  });
  // AdaLoRA: two averages of importance; B is kept as it is beside B·diag(E), which the step reads.
  return {floats, floats, optimizers::stateBytes(optimizer, tensor.count(), min8bitSize, codes),
          adalora ? 2 * floats : 0, adalora && tensor.part == formats::AdapterPart::B ? floats : 0};
}

TrainedBytes Explanation::bytes() const {
  TrainedBytes sum;
  for (const TrainedTensor &tensor : tensors) {
    const TrainedBytes of = bytes(tensor);
    sum.params += of.params;
    sum.grads += of.grads;
    sum.states += of.states;
    sum.importance += of.importance;
    sum.unfolded += of.unfolded;
  }
  return sum;
}

Explanation explain(const Project &project) {
  const dsl::Spec &spec = project.spec;
  Explanation out;
  out.adalora = project.ranks.has_value();
  out.optimizer = toString(*spec.optimizer.name);
  out.min8bitSize = *spec.optimizer.min8bitSize;
  const std::map<std::string, Place> places = tools::places(project.model);
  for (const dsl::AdapterChoice &choice : project.adapters) {
    const Place &place = places.at(choice.module);
    const int64_t rows = place.weight->shape[0], columns = place.weight->shape[1], r = choice.r;
    TrainedTensor tensor;
    tensor.module = choice.module;
    tensor.pattern = patternOf(*place.weight);
    tensor.layer = place.layer;
    tensor.rank = r;
    tensor.least = out.adalora ? *choice.minR : r;
    tensor.most = out.adalora ? choice.most() : r;
    tensor.alpha = choice.alpha;
    tensor.scale = choice.scale;
    tensor.weightDecay = *spec.optimizer.weightDecay;
    auto add = [&](formats::AdapterPart part, std::vector<int64_t> shape) {
      tensor.part = part;
      tensor.shape = std::move(shape);
      out.tensors.push_back(tensor);
    };
    add(formats::AdapterPart::A, {r, columns});
    add(formats::AdapterPart::B, {rows, r});
    if (out.adalora)
      add(formats::AdapterPart::E, {r});
    if (*spec.adapter.useDora)
      add(formats::AdapterPart::Magnitude, {rows});
    if (*spec.adapter.useGate)
      add(formats::AdapterPart::Gate, {rows});
  }
  out.groups = ratesOf(spec, out.tensors);
  for (TrainedTensor &tensor : out.tensors)
    tensor.learningRate =
        std::find_if(out.groups.begin(), out.groups.end(), [&](const RateGroup &group) {
          return group.part == tensor.part;
        })->learningRate;
  return out;
}

train::RankSchedule rankSchedule(const Project &project) {
  const dsl::AdaLoraSpec &ada = *project.spec.adapter.adalora;
  return {project.ranks->initial,   project.ranks->target, *ada.tinit, *ada.tfinal, *ada.deltaT,
          *project.spec.train.steps};
}

// In closed form: a run may have more allocations than anyone would count.
int64_t allocations(const train::RankSchedule &schedule) {
  const int64_t first = (schedule.tinit / schedule.deltaT + 1) * schedule.deltaT;
  const int64_t end = schedule.finalStep();
  return (first < end ? (end - 1 - first) / schedule.deltaT + 1 : 0) + (schedule.tfinal > 0);
}

std::vector<int64_t> allocationSteps(const train::RankSchedule &schedule, int64_t most) {
  const int64_t count = allocations(schedule), shown = std::min(count, most);
  const int64_t first = (schedule.tinit / schedule.deltaT + 1) * schedule.deltaT;
  std::vector<int64_t> steps;
  for (int64_t i = 0; i < shown; ++i) {
    const int64_t index = shown < 2 ? 0 : i * (count - 1) / (shown - 1);
    const int64_t step = first + index * schedule.deltaT;
    // Behind the multiples of deltaT comes the step that begins the final phase.
    steps.push_back(std::min(step, schedule.finalStep()));
  }
  return steps;
}

void warnOfScales(const Project &project, dsl::Diagnostics &diags) {
  if (!project.ranks)
    return;
  const dsl::AdapterSpec &adapter = project.spec.adapter;
  std::set<std::pair<double, int64_t>> told;
  for (const dsl::AdapterChoice &choice : project.adapters) {
    const double ratio = choice.alpha / static_cast<double>(choice.r);
    if ((ratio >= leastHabitScale && ratio <= mostHabitScale) ||
        !told.insert({choice.alpha, choice.r}).second)
      continue;
    const bool own = choice.alpha != *adapter.loraAlpha || choice.r != *adapter.adalora->initR;
    diags.warning(
        own                              ? choice.range
        : adapter.loraAlpha.given()      ? adapter.loraAlpha.range
        : adapter.adalora->initR.given() ? adapter.adalora->initR.range
                                         : adapter.method.range,
        fmt::format("the update{} is scaled by lora_alpha / init_r = {:g} / {} = {:.4g} to the "
                    "end, far from LoRA's habit of 1 to 2; lora_alpha = {} gives 1, {} gives 2",
                    own ? " of '" + choice.module + "'" : "", choice.alpha, choice.r, ratio,
                    choice.r, 2 * choice.r));
  }
}

} // namespace lorac::tools
