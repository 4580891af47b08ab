#include "runtime/formats/PeftFactors.h"

#include "runtime/formats/PeftTriplets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace lorac::formats {
namespace {

/// Of LoRA, DoRA and gated LoRA.
constexpr PartLayout factorParts[] = {{AdapterPart::A, ".weight"},
                                      {AdapterPart::B, ".weight"},
                                      {AdapterPart::Magnitude, ""},
                                      {AdapterPart::Gate, ""}};

struct Parts {
  std::array<const TensorInfo *, adapterParts> tensors{};
  const TensorInfo *&operator[](AdapterPart part) { return tensors[size_t(part)]; }
  const TensorInfo *operator[](AdapterPart part) const { return tensors[size_t(part)]; }
};

const TensorInfo **slotOf(const std::string &name, std::map<std::string, Parts> &modules) {
  std::string module;
  AdapterPart part{};
  return splitFactorName(name, module, part) ? &modules[module][part] : nullptr;
}

/// What is wrong with the tensors of one module; empty: nothing.
std::string misfit(const Parts &parts, const Adapter &adapter, const std::string &configPath) {
  const TensorInfo *a = parts[AdapterPart::A], *b = parts[AdapterPart::B],
                   *magnitude = parts[AdapterPart::Magnitude], *gate = parts[AdapterPart::Gate];
  if (!a || !b)
    return fmt::format("lora_{} is absent", a ? 'B' : 'A');
  if (a->shape.size() != 2 || b->shape.size() != 2 || a->shape[0] != b->shape[1] ||
      a->count() == 0 || b->count() == 0)
    return fmt::format("lora_A is {} and lora_B is {}; expected [r, in] and [out, r]",
                       shownShape(a->shape), shownShape(b->shape));
  if (adapter.useDora && !magnitude)
    return configPath.empty()
               ? "lora_magnitude_vector is absent, which other modules have"
               : fmt::format("lora_magnitude_vector is absent, but '{}' has \"use_dora\": true",
                             configPath);
  if (!adapter.useDora && magnitude)
    return fmt::format("it has a lora_magnitude_vector, which is DoRA's, but '{}' does not have "
                       "\"use_dora\": true",
                       configPath);
  if (magnitude && magnitude->shape != std::vector<int64_t>{b->shape[0]})
    return fmt::format("lora_magnitude_vector is {} and lora_B is {}; expected [out] and [out, r]",
                       shownShape(magnitude->shape), shownShape(b->shape));
  if (adapter.useGate != (gate != nullptr)) {
    if (configPath.empty())
      return gate ? "it has a lora_gate beside DoRA's lora_magnitude_vector"
                  : "lora_gate is absent, which other modules have";
    return fmt::format("lora_gate is {}, but '{}' {} of peft_type \"{}\"",
                       gate ? "there" : "absent", configPath, gate ? "is not" : "is",
                       gatedLayout.peftType);
  }
  if (gate && gate->shape != std::vector<int64_t>{b->shape[0]})
    return fmt::format("lora_gate is {} and lora_B is {}; expected [out] and [out, r]",
                       shownShape(gate->shape), shownShape(b->shape));
  return "";
}

} // namespace

bool splitFactorName(std::string_view name, std::string &module, AdapterPart &part) {
  if (!name.starts_with(peftPrefix))
    return false;
  name.remove_prefix(peftPrefix.size());
  const bool isWeight = name.ends_with(".weight");
  if (isWeight)
    name.remove_suffix(7);
  if (name.ends_with(".default"))
    name.remove_suffix(8);
  for (const PartLayout &known : factorParts) {
    const std::string_view word = toString(known.part);
    if (name.size() <= word.size() + 1 || !name.ends_with(word) ||
        name[name.size() - word.size() - 1] != '.' || (!isWeight && !known.suffix.empty()))
      continue;
    module = name.substr(0, name.size() - word.size() - 1);
    part = known.part;
    return true;
  }
  return false;
}

Result<Adapter> readFactors(const Safetensors &file, PeftConfig config,
                            const std::string &configPath) {
  constexpr const char *strange = "is no lora_A, lora_B or lora_magnitude_vector of a linear "
                                  "layer, and no lora_gate; only plain "
                                  "LoRA, DoRA and gated LoRA are in this version";
  LORAC_TRY_ASSIGN(auto modules, sortParts<Parts>(file, slotOf, strange));
  Adapter adapter = config.adapter;
  adapter.isAlone = configPath.empty();
  const auto anyHas = [&](AdapterPart part) {
    return std::any_of(modules.begin(), modules.end(),
                       [&](const auto &each) { return each.second[part] != nullptr; });
  };
  if (adapter.isAlone) {
    adapter.useDora = anyHas(AdapterPart::Magnitude);
    adapter.useGate = !adapter.useDora && anyHas(AdapterPart::Gate);
  }
  for (const auto &[name, parts] : modules) {
    const auto refuse = [&, &name = name](const std::string &what) {
      return Error{fmt::format("'{}': module '{}': {}", file.path(), shown(name), what),
                   Exit::ForeignFile};
    };
    if (const std::string wrong = misfit(parts, adapter, configPath); !wrong.empty())
      return refuse(wrong);
    AdapterModule module;
    module.module = name;
    module.rank = parts[AdapterPart::A]->shape[0];
    module.in = parts[AdapterPart::A]->shape[1];
    module.out = parts[AdapterPart::B]->shape[0];
    double alpha = double(module.rank); // of a lone file: scale 1
    if (!configPath.empty()) {
      const double stated = config.rankOf(name);
      if (stated != double(module.rank))
        return refuse(
            fmt::format("its rank is {}, but '{}' says {:.0f}", module.rank, configPath, stated));
      alpha = config.alphaOf(name);
    }
    module.scale =
        alpha / (adapter.useRslora ? std::sqrt(double(module.rank)) : double(module.rank));
    for (const PartLayout &part : adapter.layout().parts) {
      LORAC_TRY_ASSIGN(module.values(part.part), finiteFloats(file, *parts[part.part]));
    }
    adapter.modules.push_back(std::move(module));
  }
  if (adapter.isAlone) {
    adapter.r = adapter.modules.front().rank;
    adapter.alpha = double(adapter.r);
  }
  return adapter;
}

} // namespace lorac::formats
