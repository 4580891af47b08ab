// PEFT's folder: adapter_config.json and adapter_model.safetensors, read.
#include "runtime/formats/Adapter.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/FileKind.h"
#include "runtime/formats/Finite.h"
#include "runtime/formats/FolderManifest.h"
#include "runtime/formats/Gguf.h"
#include "runtime/formats/ModelIdentity.h"
#include "runtime/formats/PeftConfig.h"
#include "runtime/formats/PeftFactors.h"
#include "runtime/formats/PeftTriplets.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <string_view>
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

} // namespace

const AdapterModule *Adapter::find(const std::string &module) const {
  for (const AdapterModule &m : modules)
    if (m.module == module)
      return &m;
  return nullptr;
}

const AdapterLayout &Adapter::layout() const {
  return adaLora ? adaLoraLayout : useDora ? doraLayout : useGate ? gatedLayout : loraLayout;
}

static constexpr std::vector<float> AdapterModule::*owned[adapterParts] = {
    &AdapterModule::a, &AdapterModule::b, &AdapterModule::e, &AdapterModule::magnitude,
    &AdapterModule::gate};

std::vector<float> &AdapterModule::values(AdapterPart part) { return this->*owned[int(part)]; }

const float *AdapterModule::data(AdapterPart part) const {
  return lent[size_t(part)] ? lent[size_t(part)] : (this->*owned[int(part)]).data();
}

namespace {

/// Where an adapter's tensors and its configuration lie; `config` empty: there is none.
struct Place {
  std::string tensors, config;
};

/// The name of the checkpoint-N below with the highest N; "": there is none.
std::string newestCheckpoint(const std::string &folder) {
  constexpr std::string_view prefix = "checkpoint-";
  long highest = -1;
  std::error_code code;
  for (std::filesystem::directory_iterator at(folder, code), end; !code && at != end;
       at.increment(code)) {
    const std::string name = at->path().filename().string();
    if (name.starts_with(prefix) && name.size() > prefix.size() && name.size() < 30 &&
        name.find_first_not_of("0123456789", prefix.size()) == std::string::npos &&
        exists(at->path().string() + "/adapter_model.safetensors"))
      highest = std::max(highest, std::atol(name.c_str() + prefix.size()));
  }
  return highest < 0 ? "" : fmt::format("{}{}", prefix, highest);
}

Result<Place> placeOf(const std::string &path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0)
    return Error{fmt::format("cannot open the adapter '{}': {}", path, strerror(errno)),
                 Exit::Failed};
  Place place{path, ""};
  if (S_ISDIR(status.st_mode)) {
    place = {path + "/adapter_model.safetensors", path + "/adapter_config.json"};
    if (!exists(place.tensors) && exists(path + "/adapter_model.bin"))
      return pickle(path + "/adapter_model.bin");
    if (!exists(place.config) && exists(path + "/config.json"))
      return Error{fmt::format("'{}' holds a model (config.json), not an adapter, which has "
                               "adapter_config.json",
                               path),
                   Exit::ForeignFile};
    if (!exists(place.tensors))
      if (const std::string newest = newestCheckpoint(path); !newest.empty())
        return Error{fmt::format("'{}' holds no adapter: the run has not ended; '{}/{}' is its "
                                 "newest checkpoint",
                                 path, path, newest),
                     Exit::Failed};
    for (const char *name : {"adapter_config.json", "adapter_model.safetensors"})
      if (!exists(path + "/" + name))
        return Error{fmt::format("'{}' holds no adapter: it has no {}", path, name),
                     Exit::ForeignFile};
    return place;
  }
  for (const char *suffix : {".bin", ".pt", ".pth", ".ckpt"})
    if (path.ends_with(suffix))
      return pickle(path);
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : path.substr(0, slash + 1);
  if (exists(folder + "adapter_config.json"))
    place.config = folder + "adapter_config.json";
  return place;
}

/// A GGUF file where PEFT's tensors were expected.
Error ggufInstead(const std::shared_ptr<const MappedFile> &mapped) {
  const std::string &path = mapped->path();
  const Result<Gguf> file = Gguf::parse(mapped, GgufParts::Keys);
  if (!file)
    return file.error();
  const Result<std::string_view> type = file->text("general.type");
  if (!type || *type != "adapter")
    return {fmt::format("'{}' is a GGUF model, not an adapter", path), Exit::ForeignFile};
  return {fmt::format("'{}' is a GGUF adapter; an adapter is read from PEFT's folder: lorac export "
                      "{} --format peft --model BASE makes one",
                      path, path),
          Exit::ForeignFile};
}

/// The file of an adapter's tensors; other kinds are named.
Result<Safetensors> openTensors(const std::string &path) {
  LORAC_TRY_ASSIGN(std::shared_ptr<const MappedFile> mapped, MappedFile::open(path));
  if (fileKind(mapped->bytes()) == FileKind::Gguf)
    return ggufInstead(mapped);
  LORAC_TRY_ASSIGN(Safetensors file, Safetensors::parse(mapped));
  if (file.tensors().empty())
    return Error{fmt::format("'{}' holds no adapter tensors", path), Exit::ForeignFile};
  const auto isModels = [](const TensorInfo &tensor) {
    return tensor.name.find("lora_") == std::string::npos &&
           (tensor.name.starts_with("model.") || tensor.name == "lm_head.weight");
  };
  if (std::all_of(file.tensors().begin(), file.tensors().end(), isModels))
    return Error{fmt::format("'{}' holds the weights of a model, not an adapter: its tensors are "
                             "called '{}', …, not '….lora_A.weight'",
                             path, shown(file.tensors().front().name)),
                 Exit::ForeignFile};
  return file;
}

/// What the file says of the model that it was trained on; empty: nothing.
Result<std::map<std::string, std::string>> baseOf(const Safetensors &file) {
  const auto found = file.metadata().find(adapterBaseKey);
  if (found == file.metadata().end())
    return std::map<std::string, std::string>();
  auto facts = factsFromJson(found->second);
  if (!facts)
    return Error{fmt::format("'{}': its metadata '{}' is damaged", file.path(), adapterBaseKey),
                 Exit::ForeignFile};
  return *facts;
}

} // namespace

// An infinite weight would make every loss one.
Result<std::vector<float>> finiteFloats(const Safetensors &file, const TensorInfo &tensor) {
  LORAC_TRY_ASSIGN(std::vector<float> values, file.floats(tensor.name));
  LORAC_TRY(requireFiniteTensor(values, file.path(), tensor.name, tensor.shape));
  return values;
}

Result<AdapterOrigin> readAdapterOrigin(const std::string &path) {
  LORAC_TRY_ASSIGN(Place place, placeOf(path));
  LORAC_TRY_ASSIGN(Safetensors file, openTensors(place.tensors));
  AdapterOrigin origin;
  LORAC_TRY_ASSIGN(origin.base, baseOf(file));
  if (place.config.empty())
    return origin;
  LORAC_TRY_ASSIGN(PeftConfig config, readPeftConfig(place.config));
  std::vector<std::string> modules;
  for (const TensorInfo &tensor : file.tensors()) {
    std::string module;
    AdapterPart part{};
    if (splitFactorName(tensor.name, module, part) && part == AdapterPart::A)
      modules.push_back(module);
  }
  for (const std::string &unmatched : config.unmatchedPatterns(modules))
    origin.notes.push_back(fmt::format("'{}': {}", place.config, unmatched));
  return origin;
}

Result<Adapter> readAdapter(const std::string &path) {
  LORAC_TRY_ASSIGN(Place place, placeOf(path));
  const std::string &tensors = place.tensors, &configPath = place.config;
  if (!configPath.empty()) {
    const std::string folder = configPath.substr(0, configPath.rfind('/') + 1);
    LORAC_TRY(checkHashes(folder.empty() ? "." : folder.substr(0, folder.size() - 1),
                          {"adapter_config.json", "adapter_model.safetensors"}));
  }
  PeftConfig config;
  if (!configPath.empty()) {
    LORAC_TRY_ASSIGN(config, readPeftConfig(configPath));
  }
  LORAC_TRY_ASSIGN(Safetensors file, openTensors(tensors));
  LORAC_TRY_ASSIGN(config.adapter.base, baseOf(file));
  if (configPath.empty() ? hasTriplets(file) : config.adapter.adaLora.has_value())
    return readTriplets(file, std::move(config), configPath);
  return readFactors(file, std::move(config), configPath);
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

Result<void> checkMagnitudes(const Adapter &adapter, bool useDora, bool adaLora,
                             const std::string &path) {
  if (adapter.useDora == useDora)
    return {};
  const std::string tensor =
      fmt::format("'{}.{}'", shown(adapter.modules.empty() ? "" : adapter.modules.front().module),
                  toString(AdapterPart::Magnitude));
  return Error{adapter.useDora
                   ? fmt::format("the adapter '{}' is DoRA's: it has {}; set {}use_dora = true in "
                                 "[adapter]",
                                 path, tensor,
                                 adaLora ? "method = \"lora\", which has them, and " : "")
                   : fmt::format("the adapter '{}' is none of DoRA: it has no {}; set use_dora = "
                                 "false in [adapter]",
                                 path, tensor),
               Exit::ForeignFile};
}

Result<void> checkGates(const Adapter &adapter, bool useGate, const std::string &path) {
  if (adapter.useGate == useGate)
    return {};
  const std::string tensor =
      fmt::format("'{}.{}'", shown(adapter.modules.empty() ? "" : adapter.modules.front().module),
                  toString(AdapterPart::Gate));
  return Error{
      fmt::format("the adapter '{}' {} {}; set use_gate = {} in [adapter]", path,
                  adapter.useGate ? "is of gated LoRA: it has" : "is not of gated LoRA: it has no",
                  tensor, adapter.useGate),
      Exit::ForeignFile};
}

} // namespace lorac::formats
