#include "runtime/train/AdapterState.h"

#include "runtime/train/Random.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>

namespace lorac::train {

namespace {

struct Pair {
  std::string module;
  const PlanParam *a = nullptr, *b = nullptr, *e = nullptr;
};

/// lora_A and lora_B by module, in the plan's order.
std::vector<Pair> pairs(const Plan &plan) {
  std::vector<Pair> out;
  for (const PlanParam &param : plan.params) {
    auto pair = std::find_if(out.begin(), out.end(),
                             [&](const Pair &p) { return p.module == param.module; });
    if (pair == out.end())
      pair = out.insert(out.end(), Pair{param.module});
    if (param.group == "lora_A")
      pair->a = &param;
    else if (param.group == "lora_B")
      pair->b = &param;
    else if (param.group == "lora_E")
      pair->e = &param;
  }
  std::erase_if(out, [](const Pair &pair) { return !pair.a || !pair.b; });
  return out;
}

/// Into a program of triplets: of each module the first so many.
Result<void> loadTriplets(const Plan &plan, float *params, const formats::Adapter &adapter,
                          const std::string &path, bool fold) {
  std::vector<formats::WantedAdapter> wanted;
  std::vector<Pair> modules;
  for (const Pair &pair : pairs(plan))
    if (const formats::AdapterModule *from = adapter.find(pair.module); from && pair.e) {
      modules.push_back(pair);
      wanted.push_back({pair.module, from->rank, pair.a->shape[1], pair.b->shape[0]});
      if (from->rank > pair.a->rank)
        return Error{"'" + path + "': '" + pair.module + "' has rank " +
                         std::to_string(from->rank) + ", the program " +
                         std::to_string(pair.a->rank),
                     Exit::ForeignFile};
    }
  if (Result<void> fits = formats::checkAdapter(adapter, wanted, path); !fits)
    return fits;
  std::fill_n(params, plan.paramRegion.count, 0.0f);
  for (const Pair &pair : modules) {
    const formats::AdapterModule &from = *adapter.find(pair.module);
    std::copy(from.a.begin(), from.a.end(), params + pair.a->offset);
    const float factor = fold ? float(from.scale / pair.b->scale) : 1.0f;
    for (int64_t i = 0; i < from.rank; ++i) {
      params[pair.e->offset + i] = (from.e.empty() ? 1.0f : from.e[size_t(i)]) * factor;
      for (int64_t row = 0; row < from.out; ++row)
        params[pair.b->offset + row * pair.a->rank + i] = from.b[size_t(row * from.rank + i)];
    }
  }
  return {};
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
    if (plan.ranks && param.group != "lora_E") {
      const RandomStream stream(seed, param.name);
      for (int64_t i = 0; i < param.count(); ++i)
        out[i] = 0.02f * stream.normal(uint64_t(i));
    } else if (param.group == "lora_A")
      RandomStream(seed, param.name)
          .fillUniform(out, uint64_t(param.count()),
                       float(1.0 / std::sqrt(double(param.shape[1]))));
    else
      std::memset(out, 0, size_t(param.count()) * sizeof(float));
  }
}

Result<void> loadAdapter(const Plan &plan, float *params, const std::string &path,
                         AdapterScale scale) {
  Result<formats::Adapter> adapter = formats::readAdapter(path);
  if (!adapter)
    return adapter.error();
  // A lone file does not say its scale.
  bool fold = scale == AdapterScale::AsIs && std::filesystem::is_directory(path);
  if (plan.ranks)
    return loadTriplets(plan, params, *adapter, path, fold);
  *adapter = formats::foldTriplets(std::move(*adapter)); // the plan has no E
  std::vector<formats::WantedAdapter> wanted;
  std::vector<Pair> modules = pairs(plan);
  for (const Pair &pair : modules)
    wanted.push_back({pair.module, pair.a->rank, pair.a->shape[1], pair.b->shape[0]});
  if (Result<void> fits = formats::checkAdapter(*adapter, wanted, path); !fits)
    return fits;
  for (const Pair &pair : modules) {
    const formats::AdapterModule &from = *adapter->find(pair.module);
    std::copy(from.a.begin(), from.a.end(), params + pair.a->offset);
    float *b = params + pair.b->offset;
    std::copy(from.b.begin(), from.b.end(), b);
    if (fold && std::fabs(from.scale - pair.b->scale) > 1e-9 * std::fabs(pair.b->scale))
      for (size_t i = 0; i < from.b.size(); ++i)
        b[i] = float(double(b[i]) * (from.scale / pair.b->scale));
  }
  return {};
}

Result<void> checkAdapterBase(const std::string &path, const RunConfig &run,
                              const std::function<void(const std::string &)> &say) {
  Result<formats::AdapterOrigin> origin = formats::readAdapterOrigin(path);
  if (!origin)
    return origin.error();
  for (const std::string &note : origin->notes)
    say("warning: " + note);
  return run.identity ? formats::checkAdapterBase(origin->base, *run.identity, path)
                      : Result<void>();
}

formats::Adapter takeAdapter(const Plan &plan, const float *params, const RunConfig &run,
                             const std::string &baseModel, const TripletSets *live) {
  formats::Adapter adapter;
  adapter.r = run.r;
  adapter.alpha = run.loraAlpha;
  adapter.dropout = run.loraDropout;
  adapter.useRslora = run.useRslora;
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
    module.lentA = params + pair.a->offset;
    module.lentB = params + pair.b->offset;
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

} // namespace lorac::train
