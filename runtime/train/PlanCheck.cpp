#include "runtime/train/PlanCheck.h"

#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/RowLayout.h"
#include "runtime/train/ranks/TripletParams.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

void checkParts(const Fields &in, const PlanWeight &weight, const Plan &plan) {
  if (weight.parts.empty())
    return in.fail("has no parts");
  const auto format = formats::parseWeightFormat(weight.format);
  if (!format)
    return in.fail("has the format '" + weight.format + "', which is none");
  const int64_t n = weight.shape[0], k = weight.shape.size() > 1 ? weight.shape[1] : 1;
  if (int(weight.parts.size()) != formats::partCount(*format))
    return in.fail("has " + std::to_string(weight.parts.size()) + " parts, its format has " +
                   std::to_string(formats::partCount(*format)));
  for (size_t i = 0; i < weight.parts.size(); ++i) {
    const int64_t bytes = plan.onGpu() ? formats::rowPartBytes(*format, int(i), n, k)
                                       : formats::partBytes(*format, int(i), n, k);
    if (weight.parts[i].bytes != bytes)
      return in.fail("has " + std::to_string(weight.parts[i].bytes) + " bytes as '" +
                     weight.parts[i].name + "', its shape has " + std::to_string(bytes));
  }
}

void checkParam(const Fields &in, const PlanParam &param, const PlanRegion &params) {
  if (param.count() > params.count - param.offset)
    in.fail("ends behind the region of " + std::to_string(params.count) + " parameters");
  if (const int at = formats::layoutOf(param.part).rankAt();
      at >= 0 && param.rank != param.shape[at == 0 ? 0 : param.shape.size() - 1])
    in.fail("has rank " + std::to_string(param.rank) + ", and another one in its shape");
}

void checkParams(const Fields &root, const Plan &plan) {
  if (plan.region(RegionKind::Params).count > (int64_t(1) << 31) - 1) // what a span's offset holds
    root.fail("has more than 2^31 parameters");
  std::set<std::string> names;
  std::set<std::pair<std::string, AdapterPart>> parts;
  std::vector<const PlanParam *> order;
  for (const PlanParam &param : plan.params) {
    if (!names.insert(param.name).second)
      root.fail("has 'params' of the name '" + param.name + "' twice");
    if (!parts.emplace(param.module, param.part).second)
      root.fail("has '" + param.name + "' in 'params', a second " +
                std::string(formats::toString(param.part)) + " of '" + param.module + "'");
    order.push_back(&param);
  }
  std::sort(order.begin(), order.end(),
            [](const PlanParam *a, const PlanParam *b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i - 1]->offset + order[i - 1]->count() > order[i]->offset)
      root.fail("has '" + order[i]->name + "' at " + std::to_string(order[i]->offset) +
                " in 'params', overlapping '" + order[i - 1]->name + "'");
}

void checkRanks(const Fields &root, const Plan &plan) {
  if (!plan.ranks)
    return;
  for (const PlanParam &param : plan.params) {
    const auto &modules = plan.ranks->modules;
    auto module = std::find_if(modules.begin(), modules.end(),
                               [&](const auto &each) { return each.module == param.module; });
    if (module == modules.end())
      root.fail("has '" + param.name + "' in 'params', and no '" + param.module +
                "' in 'ranks.modules'");
    else if (param.rank > module->initial)
      root.fail("has '" + param.name + "' in 'params' of rank " + std::to_string(param.rank) +
                ", and 'ranks.modules' has it begin with " + std::to_string(module->initial));
  }
  if (auto layouts = tripletLayouts(plan.params, plan.ranks->names()); !layouts)
    root.fail("has a module in 'params' that is not whole: " + layouts.error().message);
}

void checkRowParts(const Fields &root, const Plan &plan) {
  std::string begins; // what begins by a program
  for (const formats::PartLayout &part : formats::partLayouts)
    if (part.start == formats::PartStart::ByProgram)
      begins += (begins.empty() ? "" : " or ") + std::string(part.words);
  bool any = false;
  size_t rows = 0, factors = 0;
  for (const PlanParam &param : plan.params) {
    const formats::PartLayout &part = formats::layoutOf(param.part);
    any |= part.start == formats::PartStart::ByProgram;
    factors += param.part == AdapterPart::B;
    if (part.rankAt() >= 0)
      continue;
    ++rows;
    const bool fits = std::any_of(plan.params.begin(), plan.params.end(), [&](const auto &other) {
      return other.part == AdapterPart::B && other.module == param.module &&
             param.shape == std::vector<int64_t>{other.shape[0]};
    });
    if (!fits)
      root.fail("has '" + param.name + "', and no lora_B of as many rows beside it");
  }
  if (rows != 0 && rows != factors)
    root.fail("has " + std::string(plan.method().own()->words) +
              " beside some lora_B, and none beside others");
  if (any == plan.initialize.empty())
    root.fail(any ? "has " + begins + ", and no program 'initialize'"
                  : "has a program 'initialize', and no " + begins);
}

void checkScalar(const Fields &in, const PlanScalar &scalar, ScalarPlaces &places) {
  for (int64_t g = 0; g < (scalar.byGroup > 0 ? places.groups : 1); ++g) {
    const int64_t place = scalar.at + g * scalar.byGroup;
    if (place >= places.floats)
      return in.fail("has '" + scalar.name + "' of group " + std::to_string(g) + " at " +
                     std::to_string(place) + ", outside of " + std::to_string(places.floats) +
                     " floats");
    if (places.taken[size_t(place)])
      return in.fail("has '" + scalar.name + "' at " + std::to_string(place) +
                     ", where another one is");
    places.taken[size_t(place)] = true;
  }
}

void checkTable(const Fields &in, const PlanTable &table, const Plan &plan) {
  if (table.kind == dynamic8Table) {
    if (table.positions != 2 || table.dim != formats::dynamicTableFloats)
      in.fail("is not the table of both maps of 8-bit numbers");
    return;
  }
  auto isTurn = [](float f) { return std::isfinite(f) && f > 0; };
  if (table.kind != ropeTable || table.dim != 2 * int64_t(table.frequencies.size()) ||
      !std::all_of(table.frequencies.begin(), table.frequencies.end(), isTurn) ||
      !isTurn(table.factor))
    in.fail("is not a rope table of 'dim' / 2 positive frequencies");
  if (table.positions < plan.maxLength)
    in.fail("has fewer positions than 'limits.max_length'");
}

} // namespace lorac::train
