#pragma once
// Safetensors files, single and sharded: a reader that trusts nothing, and a durable writer.

#include "runtime/Result.h"
#include "runtime/formats/MappedFile.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace lorac::formats {

enum class DType {
  Bool,
  U8,
  I8,
  F8E4M3,
  F8E5M2,
  I16,
  U16,
  F16,
  BF16,
  I32,
  U32,
  F32,
  F64,
  I64,
  U64
};
int64_t dtypeSize(DType);
std::string_view toString(DType);
std::optional<DType> parseDType(std::string_view name);

struct TensorInfo {
  std::string name;
  DType dtype;
  std::vector<int64_t> shape;
  /// Of the first byte, in the file; no alignment is promised: copy, do not cast.
  uint64_t offset = 0;
  uint64_t size = 0; ///< bytes
  int64_t count() const { return int64_t(size) / dtypeSize(dtype); }
};

/// One file. Refused with Exit::ForeignFile, file, tensor and offset: a header longer than the file
/// or than 100 MB, an unknown dtype, a span that is not shape * dtype, holes, overlaps, trailing
/// bytes, duplicate keys (stricter than the reference), anything that is no such JSON.
class Safetensors {
public:
  static Result<Safetensors> open(const std::string &path);
  static Result<Safetensors> parse(std::shared_ptr<const MappedFile> file);

  const std::string &path() const { return file->path(); }
  const std::shared_ptr<const MappedFile> &mapped() const { return file; }
  const std::vector<TensorInfo> &tensors() const {
    return infos;
  } ///< in the order of their offsets
  const std::map<std::string, std::string> &metadata() const { return strings; }
  const TensorInfo *find(const std::string &name) const;
  std::span<const uint8_t> bytes(const TensorInfo &tensor) const {
    return file->bytes().subspan(tensor.offset, tensor.size);
  }
  /// A tensor of F32, F16, BF16 or F64 as float32. Error: absent, or of another type.
  Result<std::vector<float>> floats(const std::string &name) const;
  /// A tensor of integers (or Bool). Error: absent, of another type, or U64 beyond int64.
  Result<std::vector<int64_t>> integers(const std::string &name) const;
  /// Whether a tensor of such a type is there, for readers that take it value by value.
  Result<void> checkIntegers(const std::string &name) const;

private:
  std::shared_ptr<const MappedFile> file;
  std::vector<TensorInfo> infos;
  std::unordered_map<std::string, size_t> byName;
  std::map<std::string, std::string> strings;
};

/// The weights of a Hugging Face folder: `model.safetensors`, or the shards of
/// `model.safetensors.index.json`. Shards are names inside the folder: paths, links and special
/// files are refused.
Result<std::vector<Safetensors>> openSafetensorsFolder(const std::string &folder);

struct TensorToWrite {
  std::string name;
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  const void *data = nullptr; ///< dense, row-major, little-endian
};

/// Writes durably; tensors in the order of their alignment, then name, as the reference writer
/// does. `hash`: XXH3-128 of what was written.
Result<void> writeSafetensors(const std::string &path, std::span<const TensorToWrite> tensors,
                              const std::map<std::string, std::string> &metadata = {},
                              std::string *hash = nullptr);

} // namespace lorac::formats
