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
  const PlanParam *a = nullptr, *b = nullptr;
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
  }
  std::erase_if(out, [](const Pair &pair) { return !pair.a || !pair.b; });
  return out;
}

} // namespace

void initAdapter(const Plan &plan, float *params, uint64_t seed) {
  for (const PlanParam &param : plan.params) {
    float *out = params + param.offset;
    if (param.group == "lora_A")
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
  *adapter = formats::foldTriplets(std::move(*adapter)); // the plan has no E
  std::vector<formats::WantedAdapter> wanted;
  std::vector<Pair> modules = pairs(plan);
  for (const Pair &pair : modules)
    wanted.push_back({pair.module, pair.a->rank, pair.a->shape[1], pair.b->shape[0]});
  if (Result<void> fits = formats::checkAdapter(*adapter, wanted, path); !fits)
    return fits;
  // A lone file does not say its scale.
  bool fold = scale == AdapterScale::AsIs && std::filesystem::is_directory(path);
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

formats::Adapter takeAdapter(const Plan &plan, const float *params, const RunConfig &run,
                             const std::string &baseModel) {
  formats::Adapter adapter;
  adapter.r = run.r;
  adapter.alpha = run.loraAlpha;
  adapter.dropout = run.loraDropout;
  adapter.useRslora = run.useRslora;
  adapter.baseModel = baseModel;
  for (const Pair &pair : pairs(plan)) {
    formats::AdapterModule module;
    module.module = pair.module;
    module.rank = pair.a->rank;
    module.in = pair.a->shape[1];
    module.out = pair.b->shape[0];
    module.scale = pair.b->scale;
    const float *a = params + pair.a->offset, *b = params + pair.b->offset;
    module.a.assign(a, a + pair.a->count());
    module.b.assign(b, b + pair.b->count());
    adapter.modules.push_back(std::move(module));
  }
  return adapter;
}

} // namespace lorac::train
