// GGUF adapters as llama.cpp reads them (llama-adapter.cpp): `<tensor>.lora_a` [r, in],
// `<tensor>.lora_b` [out, r], one alpha for the file, scale = alpha / r of each tensor.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/Gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>

namespace lorac::formats {
namespace {

/// Where GGUF keeps row `row` of a q or k of `rows` rows in `heads` heads: (half, j) of a head at
/// (j, half).
int64_t ggufRow(int64_t row, int64_t rows, int64_t heads) {
  if (heads == 0)
    return row;
  const int64_t perHead = rows / heads, inHead = row % perHead, half = perHead / 2;
  return row / perHead * perHead + inHead % half * 2 + inHead / half;
}

/// Whether `heads` cut the rows into whole pairs.
bool canPermute(int64_t rows, int64_t heads) {
  return heads == 0 || (heads > 0 && rows % (2 * heads) == 0);
}

/// scale * rank: what alpha would have to be for this module alone.
double alphaOf(const AdapterModule &module) { return module.scale * double(module.rank); }

/// The alpha that fits most modules, so that least is folded. Never 0: llama.cpp takes 0 for "no
/// scaling".
double commonAlpha(const Adapter &adapter) {
  std::map<double, int> votes;
  for (const AdapterModule &module : adapter.modules)
    ++votes[double(float(alphaOf(module)))];
  votes.erase(0.0);
  const auto best = std::max_element(votes.begin(), votes.end(),
                                     [](auto &a, auto &b) { return a.second < b.second; });
  return best == votes.end() ? 1.0 : best->first;
}

} // namespace

Result<void> checkFitsBase(const Adapter &adapter, std::span<const GgufModule> base,
                           const std::string &path) {
  std::map<std::string_view, const GgufModule *> byModule;
  for (const GgufModule &module : base)
    byModule[module.module] = &module;
  std::string text;
  int count = 0;
  for (const AdapterModule &module : adapter.modules) {
    const auto found = byModule.find(module.module);
    std::string wrong;
    if (found == byModule.end())
      wrong = fmt::format("the base has no linear layer '{}'", shown(module.module));
    else if (const GgufModule &weight = *found->second;
             weight.out != 0 && (weight.out != module.out || weight.in != module.in))
      wrong =
          fmt::format("'{}' has lora_A [{}, {}] and lora_B [{}, {}], but its weight in the base "
                      "is [{}, {}]",
                      shown(module.module), module.rank, module.in, module.out, module.rank,
                      weight.out, weight.in);
    if (!wrong.empty() && ++count <= 8)
      text += (text.empty() ? "" : "; ") + wrong;
  }
  if (count == 0)
    return {};
  return Error{fmt::format("the adapter '{}' is of another base model: {}{}", path, text,
                           count > 8 ? fmt::format("; and {} more", count - 8) : ""),
               Exit::ForeignFile};
}

Result<void> writeGgufAdapter(const std::string &path, const Adapter &adapter,
                              const std::string &architecture, std::span<const GgufModule> names) {
  if (adapter.adaLora)
    return writeGgufAdapter(path, foldTriplets(adapter), architecture, names);
  if (adapter.useDora)
    return Error{fmt::format("'{}' is not written: the adapter is DoRA's, and llama.cpp has no "
                             "place for its {}; --format peft keeps it",
                             path, toString(AdapterPart::Magnitude)),
                 Exit::Refused};
  if (adapter.useGate)
    return Error{fmt::format("'{}' is not written: the adapter is of gated LoRA, and llama.cpp has "
                             "no place for its {}; --format peft keeps it",
                             path, toString(AdapterPart::Gate)),
                 Exit::Refused};
  std::map<std::string_view, const GgufModule *> byModule;
  for (const GgufModule &name : names)
    byModule[name.module] = &name;
  const double alpha = commonAlpha(adapter);
  GgufWriter writer;
  writer.text("general.architecture", architecture);
  writer.text("general.type", "adapter");
  writer.text("adapter.type", "lora");
  writer.f32("adapter.lora.alpha", float(alpha));
  writer.u32("general.quantization_version", 2);
  for (const AdapterModule &module : adapter.modules) {
    const auto found = byModule.find(module.module);
    if (found == byModule.end())
      return Error{fmt::format("module '{}' has no name in GGUF for the architecture '{}'",
                               shown(module.module), architecture),
                   Exit::ForeignFile};
    const GgufModule &name = *found->second;
    if (!canPermute(module.out, name.permuteHeads))
      return Error{fmt::format("module '{}' has {} rows, which {} heads do not share evenly",
                               shown(module.module), module.out, name.permuteHeads),
                   Exit::ForeignFile};
    const double fold = alphaOf(module) / alpha;
    const bool folds = float(alphaOf(module)) != float(alpha);
    std::vector<float> b(module.b.size());
    for (int64_t row = 0; row < module.out; ++row)
      for (int64_t i = 0; i < module.rank; ++i) {
        const float value = module.b[size_t(row * module.rank + i)];
        b[size_t(ggufRow(row, module.out, name.permuteHeads) * module.rank + i)] =
            folds ? float(value * fold) : value;
      }
    for (const auto &[values, suffix] :
         {std::pair<const std::vector<float> *, const char *>(&module.a, ".lora_a"),
          {&b, ".lora_b"}})
      LORAC_TRY(requireFinite(*values, "'" + path + "' is not written", name.gguf + suffix));
    writer.tensor(name.gguf + ".lora_a", GgmlType::F32, {module.rank, module.in},
                  std::span<const float>(module.a));
    writer.tensor(name.gguf + ".lora_b", GgmlType::F32, {module.out, module.rank},
                  std::span<const float>(b));
  }
  return writer.write(path);
}

Result<Adapter> readGgufAdapter(const std::string &path, std::span<const GgufModule> names) {
  LORAC_TRY_ASSIGN(Gguf file, Gguf::open(path));
  const Result<std::string_view> kind = file.text("general.type");
  if (file.key("general.architecture") && !file.key("adapter.type") && (!kind || *kind == "model"))
    return Error{
        fmt::format("'{}' is a GGUF model, not an adapter: it has no key 'adapter.type'", path),
        Exit::ForeignFile};
  LORAC_TRY_ASSIGN(std::string_view general, file.text("general.type"));
  LORAC_TRY_ASSIGN(std::string_view type, file.text("adapter.type"));
  if (general != "adapter" || type != "lora")
    return Error{fmt::format("'{}' holds '{}' of type '{}', not a LoRA adapter", path,
                             shown(general), shown(type)),
                 Exit::ForeignFile};
  LORAC_TRY_ASSIGN(double alpha, file.number("adapter.lora.alpha"));
  if (!std::isfinite(alpha))
    return Error{fmt::format("'{}': key 'adapter.lora.alpha' is no finite number", path),
                 Exit::ForeignFile};

  Adapter adapter;
  adapter.alpha = alpha;
  size_t used = 0;
  for (const GgufModule &name : names) {
    const GgufTensor *a = file.tensor(name.gguf + ".lora_a"),
                     *b = file.tensor(name.gguf + ".lora_b");
    if (!a && !b)
      continue;
    if (!a || !b)
      return Error{fmt::format("'{}': '{}' has no lora_{}", path, name.gguf, a ? 'b' : 'a'),
                   Exit::ForeignFile};
    used += 2;
    if (a->shape.size() != 2 || b->shape.size() != 2 || a->shape[0] != b->shape[1] ||
        !canPermute(b->shape[0], name.permuteHeads))
      return Error{
          fmt::format("'{}': '{}' has lora_a {} and lora_b {}; expected [r, in] and [out, r]", path,
                      name.gguf, shownShape(a->shape), shownShape(b->shape)),
          Exit::ForeignFile};
    Result<std::vector<float>> av = file.tensorFloats(a->name), bv = file.tensorFloats(b->name);
    if (!av || !bv)
      return av ? bv.error() : av.error();
    for (const auto &[tensor, values] : {std::pair(a, &*av), {b, &*bv}})
      LORAC_TRY(requireFiniteTensor(*values, path, tensor->name, tensor->shape));
    AdapterModule module;
    module.module = name.module;
    module.rank = a->shape[0];
    module.in = a->shape[1];
    module.out = b->shape[0];
    module.alpha = alpha == 0 ? double(module.rank) : alpha;
    module.scale = alpha == 0 ? 1.0 : alpha / double(module.rank);
    module.a = std::move(*av);
    module.b.resize(bv->size());
    for (int64_t row = 0; row < module.out; ++row)
      memcpy(&module.b[size_t(row * module.rank)],
             &(*bv)[size_t(ggufRow(row, module.out, name.permuteHeads) * module.rank)],
             size_t(module.rank) * 4);
    adapter.modules.push_back(std::move(module));
  }
  if (used != file.tensors().size())
    for (const GgufTensor &tensor : file.tensors())
      if (std::none_of(names.begin(), names.end(), [&](const GgufModule &name) {
            return tensor.name == name.gguf + ".lora_a" || tensor.name == name.gguf + ".lora_b";
          }))
        return Error{fmt::format("'{}': tensor '{}' belongs to no module that is adapted here",
                                 path, shown(tensor.name)),
                     Exit::ForeignFile};
  if (adapter.modules.empty())
    return Error{fmt::format("'{}' holds no adapter tensors", path), Exit::ForeignFile};
  adapter.r = adapter.modules.front().rank;
  return adapter;
}

} // namespace lorac::formats
