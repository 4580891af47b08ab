#include "runtime/train/ranks/TripletParams.h"

#include <algorithm>

namespace lorac::train {

Result<std::vector<TripletLayout>> tripletLayouts(const std::vector<PlanParam> &params,
                                                  const std::vector<std::string> &modules) {
  std::vector<TripletLayout> layouts;
  for (const std::string &module : modules) {
    const PlanParam *a = nullptr, *b = nullptr, *e = nullptr;
    for (const PlanParam &param : params)
      if (param.module == module)
        (param.part == AdapterPart::A ? a : param.part == AdapterPart::B ? b : e) = &param;
    TripletLayout &layout = layouts.emplace_back();
    if (!a && !b && !e)
      continue;
    const bool whole = a && b && e && a->shape.size() == 2 && b->shape.size() == 2 &&
                       e->part == AdapterPart::E && b->shape[1] == a->shape[0] &&
                       e->count() == a->shape[0];
    if (!whole)
      return Error{"the program's lora_A, lora_E and lora_B of '" + module + "' are no triplets",
                   Exit::Bug};
    layout = {a->offset, b->offset, e->offset, a->shape[0], a->shape[1], b->shape[0]};
  }
  return layouts;
}

void zeroE(float *region, const std::vector<TripletLayout> &layouts, const TripletSets &places) {
  for (size_t m = 0; m < layouts.size(); ++m)
    for (int32_t place : places[m])
      region[layouts[m].e + place] = 0.0f;
}

void zeroWhole(float *region, const std::vector<TripletLayout> &layouts,
               const TripletSets &places) {
  zeroE(region, layouts, places);
  for (size_t m = 0; m < layouts.size(); ++m) {
    const TripletLayout &at = layouts[m];
    for (int32_t place : places[m]) {
      std::fill_n(region + at.a + place * at.in, at.in, 0.0f);
      for (int64_t row = 0; row < at.out; ++row)
        region[at.b + row * at.rank + place] = 0.0f;
    }
  }
}

} // namespace lorac::train
