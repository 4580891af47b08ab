#pragma once
// GGUF files (versions 2 and 3, little-endian): a reader that trusts nothing, and a writer.

#include "runtime/Result.h"
#include "runtime/formats/Blocks.h"
#include "runtime/formats/MappedFile.h"

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace lorac::formats {

class DurableFile;

/// Types of values; the numbers are those in the file.
enum class GgufType : uint32_t {
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  F32,
  Bool,
  String,
  Array,
  U64,
  I64,
  F64
};
std::string_view toString(GgufType);

struct GgufKey {
  std::string name;
  GgufType type = GgufType::U8;    ///< Array: see `element`
  GgufType element = GgufType::U8; ///< of an array
  uint64_t count = 1;              ///< elements of an array
  uint64_t offset = 0,
           size = 0; ///< of the value's bytes in the file (an array's: without its head)
};

struct GgufTensor {
  std::string name;
  uint32_t type = 0;          ///< ggml's number; ggmlTypeInfo(type) has name and block
  std::vector<int64_t> shape; ///< row-major [n, k], the reverse of ggml's ne
  uint64_t offset = 0;        ///< in the file
  uint64_t size = 0;          ///< bytes
};

/// What to read of a file: `Keys` leaves the tensors out (vocabularies, `lorac tokenize`), so that
/// a file with tensors of foreign types still gives its tokenizer.
enum class GgufParts { Keys, All };

/// Refused with Exit::ForeignFile, file, key or tensor and offset: rows 1-8, 10, 12, 13, 18 of the
/// hostile inputs. Stricter than llama.cpp: a dimension of 0, overlapping tensors.
class Gguf {
public:
  static Result<Gguf> open(const std::string &path, GgufParts parts = GgufParts::All);
  static Result<Gguf> parse(std::shared_ptr<const MappedFile> file,
                            GgufParts parts = GgufParts::All);

  const std::string &path() const { return file->path(); }
  const std::shared_ptr<const MappedFile> &mapped() const { return file; }
  uint32_t version() const { return fileVersion; }
  const std::vector<GgufKey> &keys() const { return keyList; }
  const std::vector<GgufTensor> &tensors() const { return tensorList; }
  const GgufKey *key(std::string_view name) const;
  const GgufTensor *tensor(std::string_view name) const;
  std::span<const uint8_t> bytes(const GgufTensor &tensor) const {
    return file->bytes().subspan(tensor.offset, tensor.size);
  }

  /// Values by key. Errors name file and key: absent, of another type, out of range. `integer`
  /// takes every integer type, `number` also floats.
  Result<int64_t> integer(std::string_view name) const;
  Result<double> number(std::string_view name) const;
  Result<bool> truth(std::string_view name) const;
  Result<std::string_view> text(std::string_view name) const;
  /// Arrays; the element type must be String, F32, I32 (or U32 within range) respectively. The
  /// views stay valid as long as this object (or a copy of it) does.
  Result<std::vector<std::string_view>> texts(std::string_view name) const;
  Result<std::vector<float>> floats(std::string_view name) const;
  Result<std::vector<int32_t>> integers(std::string_view name) const;

  /// All values of a tensor as float32. Error: absent, or of a type that is not read here (it is
  /// named).
  Result<std::vector<float>> tensorFloats(std::string_view name) const;
  /// Nothing when the tensor can be decoded, else the error that names it and its type.
  Result<void> checkReadable(const GgufTensor &tensor) const;

private:
  Result<const GgufKey *> typed(std::string_view name, GgufType type) const;
  Result<const GgufKey *> typedArray(std::string_view name, GgufType element) const;
  Error keyError(const GgufKey &key, const std::string &what) const;

  friend class GgufParser;
  std::shared_ptr<const MappedFile> file;
  uint32_t fileVersion = 0;
  std::vector<GgufKey> keyList;
  std::vector<GgufTensor> tensorList;
  std::unordered_map<std::string, size_t> keyIndex, tensorIndex;
};

/// Collects keys and tensors in order, then writes the file durably (version 3).
class GgufWriter {
public:
  void text(std::string key, std::string_view value);
  void u32(std::string key, uint32_t value);
  void u64(std::string key, uint64_t value);
  void i32(std::string key, int32_t value);
  void f32(std::string key, float value);
  void f64(std::string key, double value);
  void truth(std::string key, bool value);
  void texts(std::string key, std::span<const std::string> values);
  void floats(std::string key, std::span<const float> values);
  void integers(std::string key, std::span<const int32_t> values);
  /// A key of another file, as it is there.
  void copy(const Gguf &file, const GgufKey &key);
  /// `shape` row-major; `data` holds whole blocks and is copied.
  void tensor(std::string name, GgmlType type, std::vector<int64_t> shape,
              std::span<const uint8_t> data);
  /// A tensor of float32 values, stored as `type`.
  void tensor(std::string name, GgmlType type, std::vector<int64_t> shape,
              std::span<const float> values);

  /// A tensor whose bytes, those of whole rows, are made while the file is written.
  using Stream = std::function<Result<void>(DurableFile &file)>;
  void tensor(std::string name, GgmlType type, std::vector<int64_t> shape, Stream stream);

  /// Of a file without streams.
  std::vector<uint8_t> bytes() const;
  Result<void> write(const std::string &path) const;

private:
  void head(std::string_view key, GgufType type);
  std::vector<uint8_t> header() const;
  struct Pending {
    std::string name;
    GgmlType type;
    std::vector<int64_t> shape;
    uint64_t size;
    std::vector<uint8_t> data; ///< empty where `stream` gives it
    Stream stream = {};
  };
  std::vector<uint8_t> keyBytes;
  uint64_t keyCount = 0;
  std::vector<Pending> pending;
};

} // namespace lorac::formats
