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

} // namespace lorac::train
