#include "runtime/formats/SafetensorsWriter.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace lorac::formats {

using Json = nlohmann::ordered_json;

static Error cannotWrite(const std::string &path, const char *why) {
  return {fmt::format("cannot write '{}': {}", path, why), Exit::Failed};
}

uint64_t StreamedTensor::bytes() const {
  auto size = uint64_t(dtypeSize(dtype));
  for (const int64_t dim : shape)
    size *= uint64_t(dim);
  return size;
}

Result<void> writeSafetensors(const std::string &path, std::span<const StreamedTensor> tensors,
                              const std::map<std::string, std::string> &metadata,
                              std::string *hash) {
  // The reference writer's order keeps every tensor aligned to its type.
  std::vector<const StreamedTensor *> order;
  for (const StreamedTensor &tensor : tensors)
    order.push_back(&tensor);
  std::stable_sort(order.begin(), order.end(),
                   [](const StreamedTensor *a, const StreamedTensor *b) {
                     const int64_t sa = dtypeSize(a->dtype), sb = dtypeSize(b->dtype);
                     return sa != sb ? sa > sb : a->name < b->name;
                   });
  std::string header;
  try {
    Json json = Json::object();
    if (!metadata.empty())
      json["__metadata__"] = metadata;
    uint64_t offset = 0;
    for (const StreamedTensor *tensor : order) {
      const uint64_t size = tensor->bytes();
      json[tensor->name] = {{"dtype", toString(tensor->dtype)},
                            {"shape", tensor->shape},
                            {"data_offsets", {offset, offset + size}}};
      offset += size;
    }
    header = json.dump(-1, ' ', false, Json::error_handler_t::strict);
  } catch (const std::exception &error) {
    return cannotWrite(path, error.what());
  }
  header.resize((header.size() + 7) / 8 * 8, ' ');
  LORAC_TRY_ASSIGN(DurableFile file, DurableFile::create(path));
  const uint64_t length = header.size();
  LORAC_TRY(file.write(&length, 8));
  LORAC_TRY(file.write(header));
  for (const StreamedTensor *tensor : order)
    LORAC_TRY(tensor->write(file));
  if (hash)
    *hash = file.hash();
  return file.commit();
}

Result<void> writeSafetensors(const std::string &path, std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string> &metadata,
                              std::string *hash) {
  std::vector<StreamedTensor> streamed;
  for (const TensorToWrite &tensor : tensors) {
    streamed.push_back({tensor.name, tensor.dtype, tensor.shape, nullptr});
    streamed.back().write = [data = tensor.data, size = streamed.back().bytes()](
                                DurableFile &file) { return file.write(data, size); };
  }
  return writeSafetensors(path, streamed, metadata, hash);
}

/// Until all are there no shard knows how many there are.
std::string ShardWriter::workName(size_t shard) const {
  return fmt::format("{}/shard-{}", folder, shard);
}

Result<void> ShardWriter::add(std::vector<StreamedTensor> group) {
  uint64_t bytes = 0;
  for (const StreamedTensor &tensor : group)
    bytes += tensor.bytes();
  if (!pending.empty() && pendingBytes + bytes > shardBytes)
    LORAC_TRY(writeShard());
  pendingBytes += bytes;
  allBytes += bytes;
  std::move(group.begin(), group.end(), std::back_inserter(pending));
  return {};
}

Result<void> ShardWriter::writeShard() {
  Shard shard;
  LORAC_TRY(writeSafetensors(workName(shards.size()), pending, {{"format", "pt"}}, &shard.hash));
  for (const StreamedTensor &tensor : pending)
    shard.tensors.push_back(tensor.name);
  shards.push_back(std::move(shard));
  pending.clear();
  pendingBytes = 0;
  return {};
}

Result<void> ShardWriter::finish(std::map<std::string, std::string> &hashes) {
  if (!pending.empty())
    LORAC_TRY(writeShard());
  std::map<std::string, std::string> shardOf;
  for (size_t i = 0; i < shards.size(); ++i) {
    const std::string name =
        shards.size() == 1 ? "model.safetensors"
                           : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, shards.size());
    if (std::rename(workName(i).c_str(), (folder + "/" + name).c_str()) != 0)
      return cannotWrite(folder + "/" + name, strerror(errno));
    hashes[name] = shards[i].hash;
    for (const std::string &tensor : shards[i].tensors)
      shardOf[tensor] = name;
  }
  if (shards.size() == 1)
    return {};
  constexpr const char *index = "model.safetensors.index.json";
  std::string text;
  try {
    text = Json{{"metadata", {{"total_size", allBytes}}}, {"weight_map", shardOf}}.dump(
               2, ' ', false, Json::error_handler_t::strict) +
           "\n";
  } catch (const std::exception &error) {
    return cannotWrite(folder + "/" + index, error.what());
  }
  hashes[index] = hashHex(text);
  return writeDurably(folder + "/" + index, text);
}

} // namespace lorac::formats
