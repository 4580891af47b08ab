#include "runtime/formats/Checked.h"
#include "runtime/formats/DurableFile.h"
#include "runtime/formats/Gguf.h"

#include <cassert>
#include <cstring>

namespace lorac::formats {
namespace {

constexpr uint64_t alignment = 32; // what readers assume without general.alignment

template <typename T>
void put(std::vector<uint8_t> &out, T value) {
  const size_t at = out.size();
  out.resize(at + sizeof value);
  memcpy(out.data() + at, &value, sizeof value);
}

void putText(std::vector<uint8_t> &out, std::string_view text) {
  put(out, uint64_t(text.size()));
  out.insert(out.end(), text.begin(), text.end());
}

void pad(std::vector<uint8_t> &out) {
  uint64_t padded = 0;
  checkedAlignUp(out.size(), alignment, padded);
  out.resize(padded);
}

uint64_t valuesOf(const std::vector<int64_t> &shape) {
  uint64_t count = 1;
  for (const int64_t dim : shape)
    count *= uint64_t(dim);
  return count;
}

} // namespace

void GgufWriter::head(std::string_view key, GgufType type) {
  putText(keyBytes, key);
  put(keyBytes, uint32_t(type));
  ++keyCount;
}

void GgufWriter::text(std::string key, std::string_view value) {
  head(key, GgufType::String);
  putText(keyBytes, value);
}
void GgufWriter::u32(std::string key, uint32_t value) {
  head(key, GgufType::U32);
  put(keyBytes, value);
}
void GgufWriter::u64(std::string key, uint64_t value) {
  head(key, GgufType::U64);
  put(keyBytes, value);
}
void GgufWriter::i32(std::string key, int32_t value) {
  head(key, GgufType::I32);
  put(keyBytes, value);
}
void GgufWriter::f32(std::string key, float value) {
  head(key, GgufType::F32);
  put(keyBytes, value);
}
void GgufWriter::f64(std::string key, double value) {
  head(key, GgufType::F64);
  put(keyBytes, value);
}
void GgufWriter::truth(std::string key, bool value) {
  head(key, GgufType::Bool);
  put(keyBytes, uint8_t(value));
}

void GgufWriter::texts(std::string key, std::span<const std::string> values) {
  head(key, GgufType::Array);
  put(keyBytes, uint32_t(GgufType::String));
  put(keyBytes, uint64_t(values.size()));
  for (const std::string &value : values)
    putText(keyBytes, value);
}

void GgufWriter::floats(std::string key, std::span<const float> values) {
  head(key, GgufType::Array);
  put(keyBytes, uint32_t(GgufType::F32));
  put(keyBytes, uint64_t(values.size()));
  for (const float value : values)
    put(keyBytes, value);
}

void GgufWriter::integers(std::string key, std::span<const int32_t> values) {
  head(key, GgufType::Array);
  put(keyBytes, uint32_t(GgufType::I32));
  put(keyBytes, uint64_t(values.size()));
  for (const int32_t value : values)
    put(keyBytes, value);
}

void GgufWriter::copy(const Gguf &file, const GgufKey &key) {
  head(key.name, key.type);
  if (key.type == GgufType::Array) {
    put(keyBytes, uint32_t(key.element));
    put(keyBytes, key.count);
  }
  const std::span<const uint8_t> value = file.mapped()->bytes().subspan(key.offset, key.size);
  keyBytes.insert(keyBytes.end(), value.begin(), value.end());
}

void GgufWriter::tensor(std::string name, GgmlType type, std::vector<int64_t> shape,
                        std::span<const uint8_t> data) {
  assert(int64_t(data.size()) == rowBytes(type, int64_t(valuesOf(shape))) &&
         "whole blocks of the shape");
  pending.push_back(
      {std::move(name), type, std::move(shape), data.size(), {data.begin(), data.end()}});
}

void GgufWriter::tensor(std::string name, GgmlType type, std::vector<int64_t> shape,
                        std::span<const float> values) {
  assert(values.size() == valuesOf(shape) && "one value for each element of the shape");
  std::vector<uint8_t> data(size_t(rowBytes(type, int64_t(values.size()))));
  encodeRow(type, values.data(), data.data(), int64_t(values.size()));
  const uint64_t size = data.size();
  pending.push_back({std::move(name), type, std::move(shape), size, std::move(data)});
}

void GgufWriter::tensor(std::string name, GgmlType type, std::vector<int64_t> shape,
                        Stream stream) {
  const auto size = uint64_t(rowBytes(type, int64_t(valuesOf(shape))));
  pending.push_back({std::move(name), type, std::move(shape), size, {}, std::move(stream)});
}

/// What stands before the tensors' data, padded.
std::vector<uint8_t> GgufWriter::header() const {
  std::vector<uint8_t> out = {'G', 'G', 'U', 'F'};
  put(out, uint32_t(3));
  put(out, uint64_t(pending.size()));
  put(out, keyCount);
  out.insert(out.end(), keyBytes.begin(), keyBytes.end());
  uint64_t offset = 0;
  for (const Pending &tensor : pending) {
    putText(out, tensor.name);
    put(out, uint32_t(tensor.shape.size()));
    for (auto dim = tensor.shape.rbegin(); dim != tensor.shape.rend(); ++dim)
      put(out, uint64_t(*dim));
    put(out, uint32_t(tensor.type));
    put(out, offset);
    checkedAlignUp(offset + tensor.size, alignment, offset);
  }
  pad(out);
  return out;
}

std::vector<uint8_t> GgufWriter::bytes() const {
  std::vector<uint8_t> out = header();
  for (const Pending &tensor : pending) {
    assert(!tensor.stream && "nothing streams into memory");
    out.insert(out.end(), tensor.data.begin(), tensor.data.end());
    pad(out);
  }
  return out;
}

Result<void> GgufWriter::write(const std::string &path) const {
  LORAC_TRY_ASSIGN(DurableFile file, DurableFile::create(path));
  const std::vector<uint8_t> head = header();
  LORAC_TRY(file.write(head.data(), head.size()));
  for (const Pending &tensor : pending) {
    LORAC_TRY(tensor.stream ? tensor.stream(file)
                            : file.write(tensor.data.data(), tensor.data.size()));
    const std::vector<uint8_t> rest(size_t(-tensor.size % alignment));
    LORAC_TRY(file.write(rest.data(), rest.size()));
  }
  return file.commit();
}

} // namespace lorac::formats
