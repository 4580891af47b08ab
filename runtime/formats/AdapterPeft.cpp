// PEFT's folder: adapter_config.json and adapter_model.safetensors, read.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/PeftTriplets.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <sys/stat.h>

namespace lorac::formats {
namespace {

bool exists(const std::string &path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0;
}

Error pickle(const std::string &path) {
  return {fmt::format("'{}' is a pickle by its name, which can run code and is not read; save the "
                      "adapter as safetensors",
                      path),
          Exit::ForeignFile};
}

struct Pair {
  const TensorInfo *a = nullptr, *b = nullptr;
};

/// Splits `base_model.model.<module>.lora_A[.default].weight`. False: some other tensor.
bool splitName(std::string_view name, std::string &module, bool &isA) {
  if (!name.starts_with(peftPrefix))
    return false;
  name.remove_prefix(peftPrefix.size());
  for (const std::string_view suffix :
       {".lora_A.weight", ".lora_B.weight", ".lora_A.default.weight", ".lora_B.default.weight"})
    if (name.ends_with(suffix) && name.size() > suffix.size()) {
      module = name.substr(0, name.size() - suffix.size());
      isA = suffix[6] == 'A';
      return true;
    }
  return false;
}

Result<std::map<std::string, Pair>> pairUp(const Safetensors &file) {
  std::map<std::string, Pair> pairs;
  for (const TensorInfo &tensor : file.tensors()) {
    std::string module;
    bool isA = false;
    if (!splitName(tensor.name, module, isA))
      return Error{fmt::format("'{}': tensor '{}' is no lora_A or lora_B of a linear layer; only "
                               "plain LoRA is in this version",
                               file.path(), shown(tensor.name)),
                   Exit::ForeignFile};
    const TensorInfo *&slot = isA ? pairs[module].a : pairs[module].b;
    if (slot)
      return Error{fmt::format("'{}': tensor '{}' stands twice under two names", file.path(),
                               shown(tensor.name)),
                   Exit::ForeignFile};
    slot = &tensor;
  }
  return pairs;
}

} // namespace

const AdapterModule *Adapter::find(const std::string &module) const {
  for (const AdapterModule &m : modules)
    if (m.module == module)
      return &m;
  return nullptr;
}

Result<Adapter> readAdapter(const std::string &path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0)
    return Error{fmt::format("cannot open the adapter '{}': {}", path, strerror(errno)),
                 Exit::Failed};
  std::string tensors = path, configPath;
  if (S_ISDIR(status.st_mode)) {
    tensors = path + "/adapter_model.safetensors";
    configPath = path + "/adapter_config.json";
    if (!exists(tensors) && exists(path + "/adapter_model.bin"))
      return pickle(path + "/adapter_model.bin");
  } else {
    for (const char *suffix : {".bin", ".pt", ".pth", ".ckpt"})
      if (path.ends_with(suffix))
        return pickle(path);
    const size_t slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
    if (exists(folder + "adapter_config.json"))
      configPath = folder + "adapter_config.json";
  }
  PeftConfig config;
  if (!configPath.empty()) {
    Result<PeftConfig> read = readPeftConfig(configPath);
    if (!read)
      return read.error();
    config = std::move(*read);
  }
  Result<Safetensors> file = Safetensors::open(tensors);
  if (!file)
    return file.error();
  if (file->tensors().empty())
    return Error{fmt::format("'{}' holds no adapter tensors", tensors), Exit::ForeignFile};
  if (configPath.empty() ? hasTriplets(*file) : config.adapter.adaLora.has_value())
    return readTriplets(*file, std::move(config), configPath);
  Result<std::map<std::string, Pair>> pairs = pairUp(*file);
  if (!pairs)
    return pairs.error();

  Adapter adapter = config.adapter;
  for (const auto &[name, pair] : *pairs) {
    const auto refuse = [&, &name = name](const std::string &what) {
      return Error{fmt::format("'{}': module '{}': {}", tensors, shown(name), what),
                   Exit::ForeignFile};
    };
    if (!pair.a || !pair.b)
      return refuse(fmt::format("lora_{} is absent", pair.a ? 'B' : 'A'));
    if (pair.a->shape.size() != 2 || pair.b->shape.size() != 2 ||
        pair.a->shape[0] != pair.b->shape[1] || pair.a->count() == 0 || pair.b->count() == 0)
      return refuse(fmt::format("lora_A is {} and lora_B is {}; expected [r, in] and [out, r]",
                                shownShape(pair.a->shape), shownShape(pair.b->shape)));
    AdapterModule module;
    module.module = name;
    module.rank = pair.a->shape[0];
    module.in = pair.a->shape[1];
    module.out = pair.b->shape[0];
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
    Result<std::vector<float>> a = file->floats(pair.a->name), b = file->floats(pair.b->name);
    if (!a || !b)
      return a ? b.error() : a.error();
    for (const auto &[values, tensor] : {std::pair(&*a, pair.a), std::pair(&*b, pair.b)})
      if (Result<void> finite = requireFinite(*values, "'" + tensors + "'", tensor->name); !finite)
        return Error{finite.error().message, Exit::ForeignFile};
    module.a = std::move(*a);
    module.b = std::move(*b);
    adapter.modules.push_back(std::move(module));
  }
  if (configPath.empty()) {
    adapter.isAlone = true;
    adapter.r = adapter.modules.front().rank;
    adapter.alpha = double(adapter.r);
  }
  return adapter;
}

Result<void> checkAdapter(const Adapter &adapter, std::span<const WantedAdapter> program,
                          const std::string &path, const std::string &mend) {
  std::map<std::string_view, const WantedAdapter *> byName;
  for (const WantedAdapter &want : program)
    byName[want.module] = &want;
  std::string text;
  size_t count = 0;
  bool onlyRanks = true;
  const auto add = [&](const std::string &what) {
    if (++count <= 8)
      text += (text.empty() ? "" : "; ") + what;
  };
  for (const AdapterModule &module : adapter.modules) {
    const auto found = byName.find(module.module);
    if (found == byName.end()) {
      add(fmt::format("module '{}' is none that is adapted here", shown(module.module)));
      onlyRanks = false;
    } else if (const WantedAdapter &want = *found->second;
               module.in != want.in || module.out != want.out) {
      add(fmt::format("module '{}' is [{}, {}], expected [{}, {}]", shown(module.module),
                      module.out, module.in, want.out, want.in));
      onlyRanks = false;
    } else if (module.rank > want.rank) {
      add(fmt::format("module '{}' has rank {}, more than the {} here", shown(module.module),
                      module.rank, want.rank));
    }
  }
  if (count == 0)
    return {};
  if (count > 8)
    text += fmt::format("; and {} more", count - 8);
  return Error{onlyRanks
                   ? fmt::format("the adapter '{}' is too large: {}; {}", path, text, mend)
                   : fmt::format("the adapter '{}' is of another model or spec: {}", path, text),
               Exit::ForeignFile};
}

} // namespace lorac::formats
