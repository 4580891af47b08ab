// The structure of a GGUF file: where each check of a hostile one stands.
#include "runtime/formats/Checked.h"
#include "runtime/formats/FileKind.h"
#include "runtime/formats/Gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace lorac::formats {
namespace {

constexpr uint64_t mostKeys = 1 << 16;
constexpr uint64_t mostTensors = 1 << 20;
constexpr uint64_t longestKey = 65535; // the format's limits
constexpr uint64_t longestTensorName = 64;
constexpr uint64_t largestAlignment = 1 << 20;
constexpr uint64_t smallestKey = 8 + 1 + 4 + 1; // length, one character, type, one byte
constexpr uint64_t smallestTensor =
    8 + 1 + 4 + 8 + 4 + 8; // length, one character, dims, one dim, type, offset

/// Bytes of a scalar type; 0 for strings, arrays and what is no type.
uint64_t scalarSize(uint32_t type) {
  constexpr uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < sizeof sizes ? sizes[type] : 0;
}

} // namespace

/// Walks the file once, front to back. Every read asks for the bytes that are left first.
class GgufParser {
public:
  explicit GgufParser(std::shared_ptr<const MappedFile> file) : all(file->bytes()) {
    gguf.file = std::move(file);
  }

  Result<Gguf> run(GgufParts parts) {
    if (const FileKind kind = fileKind(all);
        kind != FileKind::Gguf && !formats::describe(kind).empty())
      return Error{fmt::format("'{}' {}{}", gguf.path(), formats::describe(kind),
                               kind == FileKind::Safetensors
                                   ? "; name its folder, which has config.json too"
                               : kind == FileKind::Json || kind == FileKind::Text
                                   ? " where a GGUF file was expected"
                                   : ""),
                   Exit::ForeignFile};
    if (!header() || !keys() || (parts == GgufParts::All && !tensors()))
      return Error{fmt::format("'{}': {}", gguf.path(), complaint), Exit::ForeignFile};
    return std::move(gguf);
  }

private:
  bool refuse(std::string what) {
    complaint = std::move(what);
    return false;
  }
  uint64_t left() const { return all.size() - at; }

  template <typename T>
  bool read(T &value, const char *what) {
    if (left() < sizeof(T))
      return refuse(fmt::format("the file ends at byte {}, inside {}", all.size(), what));
    memcpy(&value, all.data() + at, sizeof(T));
    at += sizeof(T);
    return true;
  }

  bool readText(std::string_view &text, uint64_t longest, const char *what) {
    const uint64_t start = at;
    uint64_t length;
    if (!read(length, what))
      return false;
    if (length > left() || length > longest)
      return refuse(
          fmt::format("{} at byte {} claims {} bytes; {} are left and at most {} are allowed", what,
                      start, length, left(), longest));
    text = {reinterpret_cast<const char *>(all.data()) + at, length};
    at += length;
    return true;
  }

  bool header() {
    char magic[4];
    uint32_t version;
    if (!read(magic, "the magic") || !read(version, "the version"))
      return false;
    if (memcmp(magic, "GGUF", 4) != 0)
      return refuse(
          fmt::format("no GGUF file: it begins with '{}', not 'GGUF'", shown({magic, 4})));
    if (version == 0x02000000 || version == 0x03000000)
      return refuse("a big-endian GGUF file; only little-endian ones are read");
    if (version != 2 && version != 3)
      return refuse(fmt::format("GGUF version {}; 2 and 3 are read", version));
    gguf.fileVersion = version;
    if (!read(tensorCount, "the number of tensors") || !read(keyCount, "the number of keys"))
      return false;
    if (tensorCount > mostTensors || tensorCount > left() / smallestTensor)
      return refuse(
          fmt::format("the number of tensors at byte 8 is {}, more than {} bytes can hold",
                      tensorCount, left()));
    if (keyCount > mostKeys || keyCount > left() / smallestKey)
      return refuse(fmt::format("the number of keys at byte 16 is {}, more than {} bytes can hold",
                                keyCount, left()));
    return true;
  }

  bool keys() {
    for (uint64_t i = 0; i < keyCount; ++i) {
      const uint64_t start = at;
      std::string_view name;
      if (!readText(name, longestKey, "a key"))
        return false;
      if (name.empty())
        return refuse(fmt::format("the key at byte {} is empty", start));
      GgufKey key;
      key.name = name;
      if (!value(key))
        return refuse(fmt::format("key '{}': {}", shown(name), complaint));
      if (!gguf.keyIndex.emplace(key.name, gguf.keyList.size()).second)
        return refuse(
            fmt::format("the key '{}' stands twice, again at byte {}", shown(name), start));
      gguf.keyList.push_back(std::move(key));
    }
    return true;
  }

  bool value(GgufKey &key) {
    uint32_t type;
    if (!read(type, "a value's type"))
      return false;
    if (type > uint32_t(GgufType::F64))
      return refuse(fmt::format("unknown type {} at byte {}", type, at - 4));
    key.type = key.element = GgufType(type);
    if (key.type == GgufType::Array)
      return array(key);
    key.offset = at;
    if (key.type == GgufType::String) {
      std::string_view text;
      if (!readText(text, UINT64_MAX, "a text"))
        return false;
    } else {
      const uint64_t size = scalarSize(type);
      if (left() < size)
        return refuse(fmt::format("the file ends at byte {}, inside the value", all.size()));
      if (key.type == GgufType::Bool && all[at] > 1)
        return refuse(fmt::format("byte {} should be a truth, 0 or 1, and is {}", at, all[at]));
      at += size;
    }
    key.size = at - key.offset;
    return true;
  }

  bool array(GgufKey &key) {
    uint32_t element;
    if (!read(element, "an array's type") || !read(key.count, "an array's length"))
      return false;
    if (element > uint32_t(GgufType::F64))
      return refuse(fmt::format("an array of unknown type {} at byte {}", element, at - 12));
    key.element = GgufType(element);
    if (key.element == GgufType::Array)
      return refuse(fmt::format("an array of arrays at byte {}", at - 12));
    key.offset = at;
    const uint64_t smallest = key.element == GgufType::String ? 8 : scalarSize(element);
    if (key.count > left() / smallest)
      return refuse(fmt::format("an array of {} elements at byte {}, but {} bytes are left",
                                key.count, at - 12, left()));
    if (key.element == GgufType::String) {
      std::string_view text;
      for (uint64_t i = 0; i < key.count; ++i)
        if (!readText(text, UINT64_MAX, "a text of an array"))
          return false;
    } else {
      at += key.count * smallest;
    }
    key.size = at - key.offset;
    return true;
  }

  bool alignment() {
    const GgufKey *key = gguf.key("general.alignment");
    if (!key)
      return true;
    if (key->type != GgufType::U32)
      return refuse(fmt::format("key 'general.alignment' is {}, not u32", toString(key->type)));
    uint32_t stated;
    memcpy(&stated, all.data() + key->offset, 4);
    if (stated == 0 || stated > largestAlignment || (stated & (stated - 1)) != 0)
      return refuse(fmt::format("key 'general.alignment' is {}, not a power of two up to {}",
                                stated, largestAlignment));
    align = stated;
    return true;
  }

  bool tensors() {
    if (!alignment())
      return false;
    for (uint64_t i = 0; i < tensorCount; ++i) {
      const uint64_t start = at;
      std::string_view name;
      if (!readText(name, longestTensorName, "a tensor's name"))
        return false;
      if (name.empty())
        return refuse(fmt::format("the tensor described at byte {} has no name", start));
      GgufTensor tensor;
      tensor.name = name;
      if (!describe(tensor))
        return refuse(
            fmt::format("tensor '{}' (described at byte {}): {}", shown(name), start, complaint));
      if (!gguf.tensorIndex.emplace(tensor.name, gguf.tensorList.size()).second)
        return refuse(
            fmt::format("the tensor '{}' stands twice, again at byte {}", shown(name), start));
      gguf.tensorList.push_back(std::move(tensor));
    }
    return tensorCount == 0 || place();
  }

  bool describe(GgufTensor &tensor) {
    uint32_t dims;
    if (!read(dims, "the number of dimensions"))
      return false;
    if (dims < 1 || dims > 4)
      return refuse(fmt::format("{} dimensions; 1 to 4 are allowed", dims));
    uint64_t count = 1;
    for (uint32_t d = 0; d < dims; ++d) {
      uint64_t extent;
      if (!read(extent, "a dimension"))
        return false;
      if (extent == 0 || extent > uint64_t(INT64_MAX))
        return refuse(fmt::format("dimension {} is {}; 1 to 2^63-1 are allowed", d, extent));
      if (!checkedMul(count, extent, count) || count > uint64_t(INT64_MAX))
        return refuse("more than 2^63-1 values");
      tensor.shape.insert(tensor.shape.begin(), int64_t(extent));
    }
    if (!read(tensor.type, "the type") || !read(tensor.offset, "the offset"))
      return false;
    const GgmlTypeInfo *info = ggmlTypeInfo(tensor.type);
    if (!info)
      return refuse(fmt::format("unknown ggml type {}", tensor.type));
    if (tensor.shape.back() % info->blockValues != 0)
      return refuse(fmt::format("a row of {} values is no multiple of {}'s block of {}",
                                tensor.shape.back(), info->name, info->blockValues));
    if (!checkedMul(count / info->blockValues, info->blockBytes, tensor.size))
      return refuse("more than 2^64 bytes");
    return true;
  }

  /// The tensors stand one after another, each padded to the alignment.
  bool place() {
    uint64_t data;
    if (!checkedAlignUp(at, align, data) || data > all.size())
      return refuse(fmt::format("the file ends at byte {}, before its tensor data", all.size()));
    std::vector<GgufTensor *> order;
    for (GgufTensor &tensor : gguf.tensorList)
      order.push_back(&tensor);
    std::sort(order.begin(), order.end(), [](auto *a, auto *b) { return a->offset < b->offset; });
    uint64_t expected = 0;
    for (GgufTensor *tensor : order) {
      const uint64_t room = all.size() - data;
      if (tensor->offset > room || tensor->size > room - tensor->offset)
        return refuse(fmt::format("tensor '{}' needs {} bytes at offset {} of the data, which has "
                                  "{}: the file was cut short, as a download that stopped; fetch "
                                  "it again",
                                  shown(tensor->name), tensor->size, tensor->offset, room));
      if (tensor->offset != expected)
        return refuse(
            fmt::format("tensor '{}' stands at offset {} of the data, where {} was expected: {}",
                        shown(tensor->name), tensor->offset, expected,
                        tensor->offset < expected ? "tensors overlap" : "a hole"));
      // Below the file's size, so neither sum can wrap.
      if (!checkedAlignUp(tensor->offset + tensor->size, align, expected))
        return refuse(fmt::format("tensor '{}' ends beyond 2^64", shown(tensor->name)));
      tensor->offset += data;
    }
    return true;
  }

  std::span<const uint8_t> all;
  uint64_t at = 0, tensorCount = 0, keyCount = 0, align = 32;
  std::string complaint;
  Gguf gguf;
};

Result<Gguf> Gguf::parse(std::shared_ptr<const MappedFile> file, GgufParts parts) {
  return GgufParser(std::move(file)).run(parts);
}

Result<Gguf> Gguf::open(const std::string &path, GgufParts parts) {
  LORAC_TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  return parse(file, parts);
}

} // namespace lorac::formats
