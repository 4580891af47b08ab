#include "runtime/train/Plan.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/RowLayout.h"
#include "runtime/formats/StateLayout.h"

#include <algorithm>
#include <iterator>

namespace lorac::train {

std::vector<std::string> PlanRanks::names() const {
  std::vector<std::string> out;
  for (const Module &module : modules)
    out.push_back(module.module);
  return out;
}

int64_t PlanParam::count() const {
  int64_t product = 1;
  for (int64_t dim : shape)
    product *= dim;
  return product;
}

int64_t Plan::weightBytes() const {
  int64_t sum = 0;
  for (const PlanWeight &weight : weights)
    for (const PlanPart &part : weight.parts)
      sum += partRoom(part.bytes);
  return sum;
}

int64_t Plan::partRoom(int64_t bytes) const {
  return onGpu() ? formats::rowPartRoom(bytes) : (bytes + 63) / 64 * 64;
}

int64_t Plan::tripletCount() const {
  int64_t sum = 0;
  for (const PlanParam &param : params)
    sum += param.part == AdapterPart::E ? param.count() : 0;
  return sum;
}

namespace {
template <typename Matches>
const PlanRegion &findRegion(const std::vector<PlanRegion> &regions, Matches matches) {
  static const PlanRegion none;
  auto found = std::find_if(regions.begin(), regions.end(), matches);
  return found == regions.end() ? none : *found;
}
} // namespace

const PlanRegion &Plan::region(RegionKind kind) const {
  return findRegion(regions, [&](const PlanRegion &each) { return each.kind == kind; });
}

const PlanRegion &Plan::region(std::string_view name) const {
  return findRegion(regions, [&](const PlanRegion &each) { return each.name == name; });
}

std::vector<PlanRegion> Plan::trained() const {
  std::vector<PlanRegion> out;
  for (RegionKind kind : {RegionKind::Params, RegionKind::State, RegionKind::Importance})
    std::copy_if(regions.begin(), regions.end(), std::back_inserter(out),
                 [&](const PlanRegion &each) { return each.kind == kind; });
  return out;
}

std::vector<AdapterPart> Plan::groups() const {
  std::vector<AdapterPart> out;
  for (const PlanParam &param : params)
    if (std::find(out.begin(), out.end(), param.part) == out.end())
      out.push_back(param.part);
  return out;
}

const formats::AdapterLayout &Plan::method() const {
  return hasRanks() ? formats::adaLoraLayout : formats::layoutWith([&](AdapterPart part) {
    return std::any_of(params.begin(), params.end(),
                       [&](const PlanParam &param) { return param.part == part; });
  });
}

std::vector<StatePlace> Plan::statePlaces() const {
  std::vector<StatePlace> places(params.size());
  int64_t blocks = 0, compact = 0;
  for (size_t p = 0; p < params.size() && hasCodes(); ++p) {
    const PlanParam &param = params[p];
    int64_t atStart = param.count();
    for (size_t m = 0; ranks && m < ranks->modules.size(); ++m)
      if (ranks->modules[m].module == param.module && param.rank > 0)
        atStart = param.count() / param.rank * ranks->modules[m].initial;
    places[p] = {atStart >= optimizer->min8bitSize, 0};
    int64_t &end = places[p].in8bits ? blocks : compact;
    places[p].own = end;
    end += places[p].in8bits ? (param.count() + formats::dynamicBlock - 1) / formats::dynamicBlock
                             : param.count();
  }
  return places;
}

std::vector<PlanSpan> Plan::spans() const {
  std::vector<PlanSpan> out;
  const std::vector<AdapterPart> groups = this->groups();
  const std::vector<StatePlace> places = statePlaces();
  for (const bool in8bits : {true, false})
    for (size_t p = 0; p < params.size(); ++p) {
      const PlanParam &param = params[p];
      if (places[p].in8bits != in8bits)
        continue;
      const auto group =
          int32_t(std::find(groups.begin(), groups.end(), param.part) - groups.begin());
      const int64_t ownOfNumbers = in8bits ? formats::dynamicBlock : hasCodes() ? 1 : 0;
      for (int64_t done = 0; done < param.count(); done += formats::spanFloats)
        out.push_back({int32_t(param.offset + done),
                       int32_t(std::min(formats::spanFloats, param.count() - done)), group,
                       int32_t(places[p].own + (ownOfNumbers ? done / ownOfNumbers : 0))});
    }
  return out;
}

uint64_t heapOf(const Plan &plan) {
  uint64_t sum = 0;
  auto block = [&](uint64_t bytes) { // with malloc's word before it, in steps of 16
    sum += bytes ? std::max<uint64_t>((bytes + 8 + 15) / 16 * 16, 32) : 0;
  };
  auto words = [&](const std::string &text) {
    block(text.capacity() > 15 ? text.capacity() + 1 : 0);
  };
  auto list = [&]<typename T>(const std::vector<T> &items) { block(items.capacity() * sizeof(T)); };
  list(plan.hyper);
  for (const auto &[name, number] : plan.hyper)
    words(name);
  list(plan.weights);
  for (const PlanWeight &weight : plan.weights) {
    words(weight.name), words(weight.gguf), words(weight.kind), words(weight.format);
    list(weight.shape), list(weight.parts);
    for (const PlanPart &part : weight.parts)
      words(part.name);
  }
  list(plan.params);
  for (const PlanParam &param : plan.params)
    words(param.name), words(param.module), list(param.shape);
  list(plan.regions);
  for (const PlanRegion &region : plan.regions)
    words(region.name);
  if (plan.optimizer)
    words(plan.optimizer->name);
  for (const PlanScalars *told : {&plan.updateScalars, &plan.importanceScalars}) {
    list(told->list);
    for (const PlanScalar &scalar : told->list)
      words(scalar.name), block(scalar.formula.bytes());
  }
  list(plan.kernels);
  for (const PlanKernel &kernel : plan.kernels)
    words(kernel.name), words(kernel.family);
  for (const ProgramOfPlan &program : programsOfPlan) {
    const std::vector<PlanLaunch> &launches = plan.*program.launches;
    list(launches);
    for (const PlanLaunch &launch : launches)
      list(launch.args), list(launch.scalars), words(launch.op), words(launch.loc);
  }
  return sum;
}

} // namespace lorac::train
