#pragma once
// Safetensors of any size, written without holding them: each tensor's bytes are made while its
// file is written.

#include "runtime/Result.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Safetensors.h"

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace lorac::formats {

/// `write` gives the file exactly the tensor's bytes: dense, row-major, little-endian.
struct StreamedTensor {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  std::function<Result<void>(DurableFile &file)> write;

  uint64_t bytes() const;
};

/// As writeSafetensors of tensors in memory.
Result<void> writeSafetensors(const std::string &path, std::span<const StreamedTensor> tensors,
                              const std::map<std::string, std::string> &metadata,
                              std::string *hash);

/// The weights of a Hugging Face folder: model.safetensors, or shards of about `shardBytes` with
/// their index where all are more than that.
class ShardWriter {
public:
  ShardWriter(std::string folder, uint64_t shardBytes)
      : folder(std::move(folder)), shardBytes(shardBytes) {}

  /// Tensors of one shard. They may be written now or later, and what they capture lives until
  /// then.
  Result<void> add(std::vector<StreamedTensor> group);
  /// The rest, the names and the index. `hashes`: XXH3-128 of each file, by its name.
  Result<void> finish(std::map<std::string, std::string> &hashes);

private:
  struct Shard {
    std::string hash;
    std::vector<std::string> tensors;
  };
  Result<void> writeShard();
  std::string workName(size_t shard) const;

  std::string folder;
  uint64_t shardBytes, pendingBytes = 0, allBytes = 0;
  std::vector<StreamedTensor> pending;
  std::vector<Shard> shards;
};

} // namespace lorac::formats
