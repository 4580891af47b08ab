#include "runtime/formats/PeftTriplets.h"

#include "runtime/formats/PeftFactors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

namespace lorac::formats {
namespace {

struct Parts {
  const TensorInfo *a = nullptr, *b = nullptr, *e = nullptr, *ranknum = nullptr;

  const TensorInfo *&slot(std::string_view part) {
    return part == "lora_A" ? a : part == "lora_B" ? b : part == "lora_E" ? e : ranknum;
  }
};

const TensorInfo **slotOf(const std::string &name, std::map<std::string, Parts> &modules) {
  std::string module;
  std::string_view part;
  return splitTripletName(name, module, part) ? &modules[module].slot(part) : nullptr;
}

/// Reads one module; `refuse` says where it went wrong.
class ModuleReader {
public:
  ModuleReader(const Safetensors &file, const PeftConfig &config, const std::string &configPath,
               const std::string &name, const Parts &parts)
      : file(file), config(config), configPath(configPath), name(name), parts(parts) {}

  /// None: its rank is 0.
  Result<std::optional<AdapterModule>> read() {
    for (const auto &[tensor, part] :
         {std::pair(parts.a, "lora_A"), {parts.b, "lora_B"}, {parts.e, "lora_E"}})
      if (!tensor)
        return refuse(fmt::format("{} is absent", part));
    const std::vector<int64_t> &a = parts.a->shape, &b = parts.b->shape, &e = parts.e->shape;
    if (a.size() != 2 || b.size() != 2 || a[0] != b[1] || a[1] < 1 || b[0] < 1 ||
        e != std::vector<int64_t>{a[0], 1})
      return refuse(fmt::format("lora_A is {}, lora_B is {} and lora_E is {}; expected [r, in], "
                                "[out, r] and [r, 1]",
                                shownShape(a), shownShape(b), shownShape(e)));
    Result<std::vector<float>> av = finiteFloats(file, *parts.a), bv = finiteFloats(file, *parts.b),
                               ev = finiteFloats(file, *parts.e);
    for (const auto *values : {&av, &bv, &ev})
      if (!*values)
        return values->error();
    AdapterModule module{.module = name,
                         .rank = a[0],
                         .in = a[1],
                         .out = b[0],
                         .a = std::move(*av),
                         .b = std::move(*bv),
                         .e = std::move(*ev)};
    LORAC_TRY(keepLive(module));
    if (module.rank == 0)
      return std::optional<AdapterModule>();
    LORAC_TRY_ASSIGN(double start, startRank());
    module.scale = config.adapter.alpha / (start + 1e-5);
    return std::optional(std::move(module));
  }

private:
  Error refuse(const std::string &what) const {
    return {fmt::format("'{}': module '{}': {}", file.path(), shown(name), what),
            Exit::ForeignFile};
  }

  /// The divisor of the scale: ranknum, which stays what the rank was at the start.
  Result<double> startRank() const {
    if (!parts.ranknum)
      return double(config.adapter.adaLora->initR);
    if (parts.ranknum->count() != 1)
      return refuse(fmt::format("ranknum is {}; expected [1]", shownShape(parts.ranknum->shape)));
    LORAC_TRY_ASSIGN(std::vector<float> value, file.floats(parts.ranknum->name));
    if (!(value.front() > 0) || !std::isfinite(value.front()))
      return refuse(fmt::format("ranknum is {}; expected a positive number", value.front()));
    return double(value.front());
  }

  /// Cuts tensors that hold more than the live triplets.
  Result<void> keepLive(AdapterModule &module) const {
    if (configPath.empty())
      return {};
    const int64_t initR = config.adapter.adaLora->initR, rows = module.rank;
    const auto found = config.live.find(name);
    const int64_t live = found == config.live.end() ? initR : found->second.count;
    if (rows == live)
      return {};
    if (rows != initR)
      return refuse(
          fmt::format("its rank is {}, but '{}' says {} of {}", rows, configPath, live, initR));
    std::vector<int64_t> kept;
    for (int64_t i = 0; i < rows; ++i)
      if (found->second.alive ? (*found->second.alive)[size_t(i)] : module.e[size_t(i)] != 0)
        kept.push_back(i);
    if (int64_t(kept.size()) != live)
      return refuse(fmt::format("'{}' says that {} of {} triplets live, not which, and {} have an "
                                "E other than 0",
                                configPath, live, initR, kept.size()));
    AdapterModule cut{name, live, module.in, module.out, 0, 0, {}, {}, {}};
    for (const int64_t i : kept) {
      const auto row = module.a.begin() + i * module.in;
      cut.a.insert(cut.a.end(), row, row + module.in);
      cut.e.push_back(module.e[size_t(i)]);
    }
    for (int64_t row = 0; row < module.out; ++row)
      for (const int64_t i : kept)
        cut.b.push_back(module.b[size_t(row * rows + i)]);
    module = std::move(cut);
    return {};
  }

  const Safetensors &file;
  const PeftConfig &config;
  const std::string &configPath, &name;
  const Parts &parts;
};

/// A file alone says neither init_r nor alpha: the largest rank, and PEFT's alpha = r.
PeftConfig ofFileAlone(const std::map<std::string, Parts> &modules) {
  PeftConfig config;
  Adapter &adapter = config.adapter;
  adapter.adaLora.emplace().initR = 1;
  for (const auto &[name, parts] : modules)
    if (parts.a && !parts.a->shape.empty())
      adapter.adaLora->initR = std::max(adapter.adaLora->initR, parts.a->shape[0]);
  adapter.r = adapter.adaLora->initR;
  adapter.alpha = double(adapter.r);
  return config;
}

} // namespace

bool splitTripletName(std::string_view name, std::string &module, std::string_view &part) {
  if (name.starts_with(peftPrefix))
    name.remove_prefix(peftPrefix.size());
  if (name.ends_with(".weight"))
    name.remove_suffix(7);
  for (int segment = 0; segment < 2; ++segment) { // the last one, or before an adapter's name
    const size_t dot = name.rfind('.');
    if (dot == std::string_view::npos || dot == 0)
      return false;
    for (const std::string_view known : {"lora_A", "lora_B", "lora_E", "ranknum"})
      if (name.substr(dot + 1) == known) {
        module = name.substr(0, dot);
        part = known;
        return true;
      }
    name = name.substr(0, dot);
  }
  return false;
}

bool hasTriplets(const Safetensors &file) {
  std::string module;
  std::string_view part;
  return std::any_of(file.tensors().begin(), file.tensors().end(), [&](const TensorInfo &tensor) {
    return splitTripletName(tensor.name, module, part) && part == "lora_E";
  });
}

Result<Adapter> readTriplets(const Safetensors &file, PeftConfig config,
                             const std::string &configPath) {
  constexpr const char *strange =
      "is no lora_A, lora_B, lora_E or ranknum of a linear layer; only plain AdaLoRA is in this "
      "version";
  LORAC_TRY_ASSIGN(auto modules, sortParts<Parts>(file, slotOf, strange));
  if (configPath.empty()) {
    auto base = std::move(config.adapter.base);
    config = ofFileAlone(modules);
    config.adapter.base = std::move(base);
  }
  for (const auto &[name, live] : config.live)
    if (live.count > 0 && !modules.contains(name))
      return Error{fmt::format("'{}': module '{}' is absent, but '{}' says that {} of its triplets "
                               "live",
                               file.path(), shown(name), configPath, live.count),
                   Exit::ForeignFile};
  Adapter adapter = config.adapter;
  adapter.isAlone = configPath.empty();
  for (const auto &[name, parts] : modules) {
    LORAC_TRY_ASSIGN(std::optional<AdapterModule> module,
                     ModuleReader(file, config, configPath, name, parts).read());
    if (module)
      adapter.modules.push_back(std::move(*module));
  }
  if (adapter.modules.empty())
    return Error{
        fmt::format("'{}': all modules have rank 0: this adapter changes nothing", file.path()),
        Exit::ForeignFile};
  return adapter;
}

} // namespace lorac::formats
