// Sharded models.
#include "runtime/formats/Checked.h"
#include "runtime/formats/JsonWalk.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sys/stat.h>

namespace lorac::formats {
namespace {

bool exists(const std::string &path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0;
}

constexpr uint64_t longestIndex = 64 << 20;

} // namespace

Result<std::vector<Safetensors>> openSafetensorsFolder(const std::string &folder) {
  std::vector<Safetensors> shards;
  const std::string single = folder + "/model.safetensors", index = single + ".index.json";
  if (exists(single)) {
    LORAC_TRY_ASSIGN(Safetensors file, Safetensors::open(single));
    shards.push_back(std::move(file));
    return shards;
  }
  for (const std::string &name : {single, index})
    if (std::error_code code; std::filesystem::is_symlink(name, code) && !exists(name))
      return Error{fmt::format("'{}' is a link to a file that is not there: '{}'; fetch the model "
                               "again",
                               name, std::filesystem::read_symlink(name, code).string()),
                   Exit::Failed};
  if (!exists(index)) {
    for (const char *pickle :
         {"pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "consolidated.00.pth"})
      if (exists(folder + "/" + pickle))
        return Error{
            fmt::format(
                "'{}/{}' is a pickle, which can run code and is not read; convert the model to "
                "model.safetensors",
                folder, pickle),
            Exit::ForeignFile};
    return Error{
        fmt::format("'{}' holds neither model.safetensors nor model.safetensors.index.json",
                    folder),
        Exit::Failed};
  }
  LORAC_TRY_ASSIGN(std::string text, readSmallFile(index, longestIndex));
  std::map<std::string, std::string> shardOf;
  LORAC_TRY(walkJson(index, text, [&](JsonPath path, const JsonEvent &event) -> std::string {
    if (path.empty())
      return event.kind == JsonEvent::Object ? "" : "no JSON object";
    if (path[0] != "weight_map")
      return "";
    if (path.size() == 1)
      return event.kind == JsonEvent::Object ? "" : "'weight_map' is no JSON object";
    if (path.size() > 2 || event.kind != JsonEvent::String)
      return fmt::format("'weight_map' gives '{}' no file name", shown(path[1]));
    shardOf.emplace(path[1], event.text);
    return "";
  }));
  if (shardOf.empty())
    return Error{fmt::format("'{}' has no 'weight_map'", index), Exit::ForeignFile};

  std::map<std::string, size_t> opened;
  for (const auto &[tensor, name] : shardOf) {
    if (!opened.emplace(name, shards.size()).second)
      continue;
    LORAC_TRY_ASSIGN(std::shared_ptr<const MappedFile> mapped,
                     MappedFile::openBeneath(folder, name));
    LORAC_TRY_ASSIGN(Safetensors shard, Safetensors::parse(mapped));
    shards.push_back(std::move(shard));
  }
  for (const auto &[tensor, name] : shardOf)
    if (!shards[opened[name]].find(tensor))
      return Error{fmt::format("'{}' says that '{}' holds tensor '{}', which it does not", index,
                               shown(name), shown(tensor)),
                   Exit::ForeignFile};
  for (const auto &[name, i] : opened)
    for (const TensorInfo &tensor : shards[i].tensors())
      if (auto at = shardOf.find(tensor.name); at == shardOf.end() || at->second != name)
        return Error{fmt::format("'{}/{}' holds tensor '{}', which '{}' does not give it", folder,
                                 shown(name), shown(tensor.name), index),
                     Exit::ForeignFile};
  return shards;
}

} // namespace lorac::formats
