#include "runtime/formats/PeftFactors.h"

#include "runtime/formats/PeftTriplets.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace lorac::formats {
namespace {

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

/// How adapter_config.json says that a folder is of the method.
std::string saying(const AdapterLayout &method) {
  return method.peftKey.empty() ? fmt::format("\"peft_type\": \"{}\"", method.peftType)
                                : fmt::format("\"{}\": true", method.peftKey);
}

/// What is wrong with the tensors of one module; empty: nothing.
std::string misfit(const Parts &parts, const Adapter &adapter, const std::string &configPath) {
  const TensorInfo *a = parts[AdapterPart::A], *b = parts[AdapterPart::B];
  if (!a || !b)
    return fmt::format("lora_{} is absent", a ? 'B' : 'A');
  if (a->shape.size() != 2 || b->shape.size() != 2 || a->shape[0] != b->shape[1] ||
      a->count() == 0 || b->count() == 0)
    return fmt::format("lora_A is {} and lora_B is {}; expected [r, in] and [out, r]",
                       shownShape(a->shape), shownShape(b->shape));
  for (const AdapterLayout *method : adapterLayouts) {
    const PartLayout *own = method->own();
    const TensorInfo *tensor = own ? parts[own->part] : nullptr;
    const bool isOurs = method == adapter.method;
    if (own && isOurs && !tensor)
      return fmt::format("{} is absent, {}", own->word,
                         configPath.empty()
                             ? "which other modules have"
                             : fmt::format("but '{}' has {}", configPath, saying(*method)));
    if (tensor && !isOurs)
      return fmt::format("it has a {}, which is {}'s, but {}", own->word, method->name,
                         configPath.empty()
                             ? fmt::format("other tensors are {}'s", adapter.method->name)
                             : fmt::format("'{}' does not have {}", configPath, saying(*method)));
    if (tensor && tensor->shape != shapeOf(own->part, a->shape[0], a->shape[1], b->shape[0]))
      return fmt::format("{} is {} and lora_B is {}; expected {} and [out, r]", own->word,
                         shownShape(tensor->shape), shownShape(b->shape), own->sizes);
  }
  return "";
}

/// What a tensor of another name is told.
std::string strange() {
  std::vector<std::string> parts, methods;
  for (const PartLayout &part : partLayouts)
    if (part.part != AdapterPart::E)
      parts.emplace_back(part.word);
  for (const AdapterLayout *method : adapterLayouts)
    if (method != &adaLoraLayout)
      methods.emplace_back(method->name);
  return fmt::format("is no {} of a linear layer; only plain {} are in this version",
                     listed(parts, "or"), listed(methods, "and"));
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
  for (const PartLayout &known : partLayouts) {
    const std::string_view word = known.word;
    if (known.part == AdapterPart::E || name.size() <= word.size() + 1 || !name.ends_with(word) ||
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
  LORAC_TRY_ASSIGN(auto modules, sortParts<Parts>(file, slotOf, strange()));
  Adapter adapter = config.adapter;
  adapter.isAlone = configPath.empty();
  if (adapter.isAlone)
    adapter.method = &layoutWith([&](AdapterPart part) {
      return std::any_of(modules.begin(), modules.end(),
                         [&](const auto &each) { return each.second[part] != nullptr; });
    });
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
    for (const AdapterPart part : adapter.method->parts) {
      LORAC_TRY_ASSIGN(module.values(part), finiteFloats(file, *parts[part]));
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
