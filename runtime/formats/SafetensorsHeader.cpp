// The header of a safetensors file: where each check of a hostile one stands.
#include "runtime/formats/Checked.h"
#include "runtime/formats/FileKind.h"
#include "runtime/formats/JsonWalk.h"
#include "runtime/formats/Safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace lorac::formats {
namespace {

constexpr uint64_t longestHeader = 100'000'000; // the reference's own limit

/// One entry as it is being read; offsets count from the data's start.
struct Entry {
  std::string name, dtype;
  std::vector<int64_t> shape, offsets;
  bool hasDtype = false, hasShape = false, hasOffsets = false;
};

/// Takes the walk's events; returns complaints.
struct HeaderVisitor {
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

  std::string operator()(JsonPath path, const JsonEvent &event) {
    const bool atEnd = event.kind == JsonEvent::Object;
    if (path.empty())
      return atEnd ? "" : "the header is no JSON object";
    const std::string &name = path[0];
    if (name == "__metadata__")
      return visitMetadata(path, event);
    if (path.size() == 1)
      return atEnd ? finish(name)
                   : fmt::format("tensor '{}' is described by no JSON object", shown(name));
    if (entries.empty() || entries.back().name != name) {
      entries.emplace_back();
      entries.back().name = name;
    }
    std::string complaint = visitField(entries.back(), path.subspan(1), event);
    return complaint.empty() ? "" : fmt::format("tensor '{}': {}", shown(name), complaint);
  }

private:
  std::string visitMetadata(JsonPath path, const JsonEvent &event) {
    if (path.size() == 1)
      return event.kind == JsonEvent::Object ? "" : "'__metadata__' is no JSON object";
    if (path.size() > 2 || event.kind != JsonEvent::String)
      return fmt::format("'__metadata__' has a value that is no string, at '{}'", shown(path[1]));
    metadata[path[1]] = event.text;
    return "";
  }

  std::string visitField(Entry &entry, JsonPath path, const JsonEvent &event) {
    const std::string &field = path[0];
    if (field == "dtype") {
      // The first thing to be right: nothing else of an unknown type can be checked.
      if (path.size() > 1 || event.kind != JsonEvent::String)
        return "the dtype is no string";
      if (!parseDType(event.text))
        return fmt::format("unknown dtype '{}'", shown(event.text));
      entry.dtype = event.text;
      entry.hasDtype = true;
      return "";
    }
    const bool isShape = field == "shape";
    if (!isShape && field != "data_offsets")
      return fmt::format("unknown field '{}'", shown(field));
    if (path.size() == 1) {
      (isShape ? entry.hasShape : entry.hasOffsets) = true;
      return event.kind == JsonEvent::Array ? "" : fmt::format("'{}' is no array", field);
    }
    if (path.size() > 2 || event.kind != JsonEvent::Integer || event.integer < 0)
      return fmt::format("'{}' holds something that is no whole number from 0 to 2^63-1", field);
    (isShape ? entry.shape : entry.offsets).push_back(event.integer);
    return "";
  }

  std::string finish(const std::string &name) {
    if (entries.empty() || entries.back().name != name || !entries.back().hasDtype)
      return fmt::format("tensor '{}' has no dtype", shown(name));
    const Entry &entry = entries.back();
    if (!entry.hasShape)
      return fmt::format("tensor '{}' has no shape", shown(name));
    if (!entry.hasOffsets || entry.offsets.size() != 2)
      return fmt::format("tensor '{}' needs data_offsets of two numbers, got {}", shown(name),
                         entry.offsets.size());
    return "";
  }
};

/// Bytes that shape and dtype ask for; nothing on overflow.
std::optional<uint64_t> bytesOf(const Entry &entry, DType dtype) {
  uint64_t size = uint64_t(dtypeSize(dtype));
  // A dimension of 0 makes the product 0 whatever stands beside it.
  if (std::find(entry.shape.begin(), entry.shape.end(), 0) != entry.shape.end())
    return 0;
  for (const int64_t dim : entry.shape)
    if (!checkedMul(size, uint64_t(dim), size))
      return std::nullopt;
  return size;
}

} // namespace

Result<Safetensors> Safetensors::parse(std::shared_ptr<const MappedFile> file) {
  const std::span<const uint8_t> all = file->bytes();
  auto refuse = [&](const std::string &what) {
    return Error{fmt::format("'{}': {}", file->path(), what), Exit::ForeignFile};
  };
  const FileKind kind = fileKind(all);
  if (kind != FileKind::Safetensors && kind != FileKind::Other) {
    const std::string mend = kind == FileKind::Gguf
                                 ? ": name it as a model by itself, not in a folder of safetensors"
                             : kind == FileKind::Json || kind == FileKind::Text
                                 ? " where safetensors were expected: fetch or save it again"
                                 : "";
    return Error{fmt::format("'{}' {}{}", file->path(), describe(kind), mend), Exit::ForeignFile};
  }
  if (all.size() < 8)
    return refuse(fmt::format("{} bytes are too short for a safetensors header", all.size()));
  uint64_t length;
  memcpy(&length, all.data(), 8);
  const uint64_t left = all.size() - 8;
  if (length > left && kind == FileKind::Safetensors)
    return refuse(fmt::format("the header's length at byte 0 is {}, but {} bytes are left: the "
                              "file was cut short, as a download that stopped; fetch it again",
                              length, left));
  if (length > longestHeader || length > left)
    return refuse(fmt::format(
        "the header's length at byte 0 is {}, but {} bytes are left (and at most {} are allowed)",
        length, left, longestHeader));
  const std::string_view header(reinterpret_cast<const char *>(all.data()) + 8, length);
  if (!header.starts_with('{'))
    return refuse("the header at byte 8 does not begin with '{'");

  HeaderVisitor visitor;
  LORAC_TRY(walkJson(file->path(), header, std::ref(visitor)));

  const uint64_t dataStart = 8 + length, dataSize = left - length;
  uint64_t needed = 0;
  for (const Entry &entry : visitor.entries)
    needed = std::max(needed, uint64_t(entry.offsets[1]));
  const std::string cut =
      needed <= dataSize || needed > (uint64_t(1) << 50)
          ? ""
          : fmt::format(": the file has {} bytes, its tensors need {}; it was cut short, as a "
                        "download that stopped: fetch it again",
                        all.size(), dataStart + needed);
  Safetensors result;
  result.strings = std::move(visitor.metadata);
  for (Entry &entry : visitor.entries) {
    const DType dtype = *parseDType(entry.dtype);
    const auto begin = uint64_t(entry.offsets[0]), end = uint64_t(entry.offsets[1]);
    if (begin > end || end > dataSize)
      return refuse(fmt::format("tensor '{}' spans bytes {} to {} of the data, which has {}{}",
                                shown(entry.name), begin, end, dataSize, cut));
    const std::optional<uint64_t> size = bytesOf(entry, dtype);
    if (!size || *size != end - begin)
      return refuse(
          fmt::format("tensor '{}' of {} {} needs {} bytes, but its data_offsets {} to {} hold {}",
                      shown(entry.name), entry.dtype, shownShape(entry.shape),
                      size ? std::to_string(*size) : "more than 2^64", begin, end, end - begin));
    result.infos.push_back(
        {std::move(entry.name), dtype, std::move(entry.shape), dataStart + begin, end - begin});
  }
  std::stable_sort(result.infos.begin(), result.infos.end(),
                   [](const TensorInfo &a, const TensorInfo &b) {
                     return a.offset != b.offset ? a.offset < b.offset : a.size < b.size;
                   });
  uint64_t expected = dataStart;
  for (size_t i = 0; i < result.infos.size(); ++i) {
    const TensorInfo &tensor = result.infos[i];
    if (tensor.offset != expected)
      return refuse(fmt::format(
          "tensor '{}' begins at byte {} of the file where {} was expected: {}", shown(tensor.name),
          tensor.offset, expected, tensor.offset < expected ? "tensors overlap" : "a hole"));
    expected = tensor.offset + tensor.size;
    result.byName.emplace(tensor.name, i);
  }
  if (expected != all.size())
    return refuse(
        fmt::format("{} bytes follow the last tensor at byte {}", all.size() - expected, expected));
  result.file = std::move(file);
  return result;
}

} // namespace lorac::formats
