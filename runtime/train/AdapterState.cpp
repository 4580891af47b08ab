#include "runtime/train/AdapterState.h"

#include "runtime/train/Random.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lorac::train {

namespace {

struct Pair {
  std::string module;
  const PlanParam *a = nullptr, *b = nullptr, *e = nullptr, *magnitude = nullptr, *gate = nullptr;
};

/// lora_A and lora_B by module, in the plan's order.
std::vector<Pair> pairs(const Plan &plan) {
  std::vector<Pair> out;
  for (const PlanParam &param : plan.params) {
    auto pair = std::find_if(out.begin(), out.end(),
                             [&](const Pair &p) { return p.module == param.module; });
    if (pair == out.end())
      pair = out.insert(out.end(), Pair{param.module});
    (param.part == AdapterPart::A      ? pair->a
     : param.part == AdapterPart::B    ? pair->b
     : param.part == AdapterPart::E    ? pair->e
     : param.part == AdapterPart::Gate ? pair->gate
                                       : pair->magnitude) = &param;
  }
  std::erase_if(out, [](const Pair &pair) { return !pair.a || !pair.b; });
  return out;
}

/// What the program can take of an adapter.
Result<void> checkFits(const std::vector<Pair> &modules, const formats::Adapter &adapter,
                       const std::string &path, AdapterUse use) {
  std::vector<formats::WantedAdapter> program;
  for (const Pair &pair : modules)
    program.push_back({pair.module, pair.a->rank, pair.a->shape[1], pair.b->shape[0]});
  int64_t most = 0;
  for (const formats::AdapterModule &module : adapter.modules)
    most = std::max(most, module.rank);
  return formats::checkAdapter(
      adapter, program, path,
      use == AdapterUse::Serve
          ? "this program was compiled for smaller ones; lorac eval and lorac generate with "
            "--adapter compile one for the adapter"
          : fmt::format("set the rank in [adapter] to {}", most));
}

/// Puts `from` into the first places of a module's tensors, with its update times `factor`.
void place(const Pair &pair, const formats::AdapterModule &from, double factor, float *params) {
  std::copy(from.a.begin(), from.a.end(), params + pair.a->offset);
  if (pair.magnitude)
    std::copy(from.magnitude.begin(), from.magnitude.end(), params + pair.magnitude->offset);
  if (pair.gate)
    std::copy(from.gate.begin(), from.gate.end(), params + pair.gate->offset);
  const bool folds = factor != 1.0 && !pair.e;
  for (int64_t row = 0; row < from.out; ++row)
    for (int64_t i = 0; i < from.rank; ++i) {
      const float value = from.b[size_t(row * from.rank + i)];
      params[pair.b->offset + row * pair.a->rank + i] = folds ? float(value * factor) : value;
    }
  if (pair.e)
    for (int64_t i = 0; i < from.rank; ++i)
      params[pair.e->offset + i] =
          float((from.e.empty() ? 1.0 : double(from.e[size_t(i)])) * factor);
}

/// What a run that goes on from an adapter should know.
std::vector<std::string> notesOf(const std::string &path, const formats::Adapter &adapter,
                                 const std::vector<Pair> &modules, size_t padded, double assumed,
                                 double folded, AdapterUse use) {
  std::vector<std::string> notes;
  if (adapter.isAlone)
    notes.push_back(fmt::format("'{}' has no adapter_config.json beside it: the spec's lora_alpha "
                                "is taken, a scale of {:g}",
                                path, assumed));
  if (use == AdapterUse::Serve) {
    if (adapter.modules.size() < modules.size())
      notes.push_back(
          fmt::format("'{}' adapts {} of the {} modules here: the base alone in the rest", path,
                      adapter.modules.size(), modules.size()));
    return notes;
  }
  if (folded != 0)
    notes.push_back(
        fmt::format("the scale of '{}' is {:g} and not the spec's: it stays what it is, "
                    "folded into its factors",
                    path, folded));
  if (padded)
    notes.push_back(fmt::format("'{}' has a smaller rank in {} of {} modules: the rest begins new, "
                                "and adds nothing at first",
                                path, padded, modules.size()));
  if (adapter.modules.size() < modules.size())
    notes.push_back(fmt::format("'{}' lacks {} of {} modules: they begin new, and add nothing at "
                                "first",
                                path, modules.size() - adapter.modules.size(), modules.size()));
  return notes;
}

/// The triplets at `places` of one module.
formats::AdapterModule takeTriplets(const Pair &pair, const float *params,
                                    const std::vector<int32_t> &places) {
  formats::AdapterModule module;
  module.module = pair.module;
  module.rank = int64_t(places.size());
  module.in = pair.a->shape[1];
  module.out = pair.b->shape[0];
  module.scale = pair.b->scale;
  const float *a = params + pair.a->offset, *b = params + pair.b->offset,
              *e = params + pair.e->offset;
  for (int32_t place : places) {
    module.a.insert(module.a.end(), a + place * module.in, a + (place + 1) * module.in);
    module.e.push_back(e[place]);
  }
  for (int64_t row = 0; row < module.out; ++row)
    for (int32_t place : places)
      module.b.push_back(b[row * pair.a->rank + place]);
  return module;
}

/// Places whose E is not 0.
std::vector<int32_t> livePlaces(const Pair &pair, const float *params) {
  std::vector<int32_t> places;
  for (int64_t i = 0; i < pair.a->rank; ++i)
    if (params[pair.e->offset + i] != 0)
      places.push_back(int32_t(i));
  return places;
}

} // namespace

void initAdapter(const Plan &plan, float *params, uint64_t seed) {
  for (const PlanParam &param : plan.params) {
    float *out = params + param.offset;
    if (param.part == AdapterPart::Magnitude)
      continue;
    if (plan.ranks && param.part != AdapterPart::E) {
      const RandomStream stream(seed, param.name);
      for (int64_t i = 0; i < param.count(); ++i)
        out[i] = 0.02f * stream.normal(uint64_t(i));
    } else if (param.part == AdapterPart::A)
      RandomStream(seed, param.name)
          .fillUniform(out, uint64_t(param.count()),
                       float(1.0 / std::sqrt(double(param.shape[1]))));
    else if (param.part == AdapterPart::Gate)
      std::fill_n(out, param.count(), 1.0f);
    else
      std::memset(out, 0, size_t(param.count()) * sizeof(float));
  }
}

Result<std::vector<std::string>> loadAdapter(const Plan &plan, float *params,
                                             const std::string &path, AdapterUse use,
                                             bool useRslora) {
  LORAC_TRY_ASSIGN(formats::Adapter read, formats::readAdapter(path));
  formats::Adapter adapter =
      plan.ranks ? std::move(read) : formats::foldTriplets(std::move(read)); // no E in the plan
  LORAC_TRY(formats::checkMagnitudes(adapter, plan.isDora(), plan.ranks.has_value(), path));
  LORAC_TRY(formats::checkGates(adapter, plan.isGated(), path));
  const std::vector<Pair> modules = pairs(plan);
  LORAC_TRY(checkFits(modules, adapter, path, use));
  for (const PlanParam &param : plan.params)
    if (use == AdapterUse::Serve && param.part != AdapterPart::Magnitude)
      std::fill_n(params + param.offset, param.count(), 0.0f);
  const auto divisor = [&](int64_t rank) {
    return useRslora ? std::sqrt(double(rank)) : double(rank);
  };
  size_t padded = 0;
  double assumed = 0, folded = 0;
  for (const Pair &pair : modules) {
    const formats::AdapterModule *from = adapter.find(pair.module);
    if (!from)
      continue;
    const double own = pair.b->scale;
    double scale = from->scale;
    if (adapter.isAlone) // the program's alpha; AdaLoRA's scale does not look at the rank
      assumed = scale = plan.ranks ? own : own * divisor(pair.a->rank) / divisor(from->rank);
    const double factor = std::fabs(scale - own) <= 1e-9 * std::fabs(own) ? 1.0 : scale / own;
    if (factor != 1.0 && folded == 0)
      folded = scale;
    padded += from->rank < pair.a->rank;
    place(pair, *from, factor, params);
  }
  return notesOf(path, adapter, modules, padded, assumed, folded, use);
}

Result<void> checkAdapterBase(const std::string &path, const RunConfig &run,
                              const std::function<void(const std::string &)> &say) {
  LORAC_TRY_ASSIGN(formats::AdapterOrigin origin, formats::readAdapterOrigin(path));
  for (const std::string &note : origin.notes)
    say("warning: " + note);
  return run.identity ? formats::checkAdapterBase(origin.base, *run.identity, path)
                      : Result<void>();
}

formats::Adapter takeAdapter(const Plan &plan, const float *params, const RunConfig &run,
                             const std::string &baseModel, const TripletSets *live) {
  formats::Adapter adapter;
  adapter.r = run.r;
  adapter.alpha = run.loraAlpha;
  adapter.dropout = run.loraDropout;
  adapter.useRslora = run.useRslora;
  adapter.useDora = plan.isDora();
  adapter.useGate = plan.isGated();
  adapter.baseModel = baseModel;
  if (run.identity)
    adapter.base = run.identity->facts();
  if (plan.ranks && run.adalora)
    adapter.adaLora = {.initR = plan.ranks->modules.empty() ? 1 : plan.ranks->modules[0].initial,
                       .tinit = run.adalora->tinit,
                       .tfinal = run.adalora->tfinal,
                       .deltaT = run.adalora->deltaT,
                       .totalStep = run.steps,
                       .beta1 = run.adalora->beta1,
                       .beta2 = run.adalora->beta2,
                       .orthRegWeight = run.adalora->orthRegWeight};
  for (const Pair &pair : pairs(plan)) {
    if (pair.e) {
      size_t index = 0;
      while (plan.ranks->modules[index].module != pair.module)
        ++index;
      const std::vector<int32_t> places = live ? (*live)[index] : livePlaces(pair, params);
      if (!places.empty())
        adapter.modules.push_back(takeTriplets(pair, params, places));
      continue;
    }
    formats::AdapterModule module;
    module.module = pair.module;
    module.rank = pair.a->rank;
    module.in = pair.a->shape[1];
    module.out = pair.b->shape[0];
    module.scale = pair.b->scale;
    module.lent[size_t(AdapterPart::A)] = params + pair.a->offset;
    module.lent[size_t(AdapterPart::B)] = params + pair.b->offset;
    if (pair.magnitude)
      module.lent[size_t(AdapterPart::Magnitude)] = params + pair.magnitude->offset;
    if (pair.gate)
      module.lent[size_t(AdapterPart::Gate)] = params + pair.gate->offset;
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

} // namespace lorac::train
