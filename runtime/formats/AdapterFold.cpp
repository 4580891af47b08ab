// AdaLoRA's triplets as plain LoRA, and back.
#include "runtime/formats/Adapter.h"

#include <algorithm>
#include <cassert>
#include <map>

namespace lorac::formats {

Adapter foldTriplets(Adapter adapter) {
  if (!adapter.adaLora)
    return adapter;
  adapter.adaLora.reset();
  adapter.useRslora = false;
  adapter.targetModules.clear();
  std::erase_if(adapter.modules, [](const AdapterModule &module) { return module.rank == 0; });
  std::map<int64_t, int> votes;
  for (AdapterModule &module : adapter.modules) {
    assert(module.e.size() == size_t(module.rank) && "a module of AdaLoRA has an E");
    for (size_t i = 0; i < module.b.size(); ++i)
      module.b[i] *= module.e[i % module.e.size()];
    module.e.clear();
    ++votes[module.rank];
  }
  const auto most = std::max_element(votes.begin(), votes.end(),
                                     [](auto &a, auto &b) { return a.second < b.second; });
  if (most == votes.end())
    return adapter;
  adapter.r = most->first;
  adapter.alpha =
      double(adapter.r) *
      std::find_if(adapter.modules.begin(), adapter.modules.end(), [&](const AdapterModule &m) {
        return m.rank == adapter.r;
      })->scale;
  return adapter;
}

Adapter asTriplets(Adapter adapter) {
  if (adapter.adaLora || adapter.modules.empty())
    return adapter;
  assert(!adapter.useDora && !adapter.useGate && "DoRA and gated LoRA have no triplets");
  adapter.useRslora = false;
  adapter.targetModules.clear();
  AdaLora &ada = adapter.adaLora.emplace();
  ada.initR = 1;
  int64_t ranks = 0;
  double scale = 0; // of the module that is largest: its E needs no factor
  for (AdapterModule &module : adapter.modules) {
    module.e.assign(size_t(module.rank), 1.0f);
    ranks += module.rank;
    if (scale == 0 || module.rank > ada.initR)
      scale = module.scale;
    ada.initR = std::max(ada.initR, module.rank);
  }
  ada.targetR = ranks / int64_t(adapter.modules.size());
  adapter.alpha = scale * (double(ada.initR) + 1e-5);
  return adapter;
}

} // namespace lorac::formats
