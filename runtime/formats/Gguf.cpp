#include "runtime/formats/Gguf.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <cstring>

namespace lorac::formats {
namespace {

template <typename T>
T load(const uint8_t *p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}

} // namespace

std::string_view toString(GgufType type) {
  constexpr std::string_view names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                        "bool", "string", "array", "u64", "i64", "f64"};
  return names[size_t(type)];
}

const GgufKey *Gguf::key(std::string_view name) const {
  const auto found = keyIndex.find(std::string(name));
  return found == keyIndex.end() ? nullptr : &keyList[found->second];
}

const GgufTensor *Gguf::tensor(std::string_view name) const {
  const auto found = tensorIndex.find(std::string(name));
  return found == tensorIndex.end() ? nullptr : &tensorList[found->second];
}

Error Gguf::keyError(const GgufKey &key, const std::string &what) const {
  const std::string type = key.type == GgufType::Array
                               ? fmt::format("an array of {} {}", key.count, toString(key.element))
                               : std::string(toString(key.type));
  return {fmt::format("'{}': key '{}' at byte {} is {}; {}", path(), shown(key.name), key.offset,
                      type, what),
          Exit::ForeignFile};
}

Result<const GgufKey *> Gguf::typed(std::string_view name, GgufType type) const {
  const GgufKey *found = key(name);
  if (!found)
    return Error{fmt::format("'{}' has no key '{}'", path(), shown(name)), Exit::ForeignFile};
  if (found->type != type)
    return keyError(*found, fmt::format("expected {}", toString(type)));
  return found;
}

Result<const GgufKey *> Gguf::typedArray(std::string_view name, GgufType element) const {
  Result<const GgufKey *> found = typed(name, GgufType::Array);
  if (found && (*found)->element != element)
    return keyError(**found, fmt::format("expected an array of {}", toString(element)));
  return found;
}

Result<int64_t> Gguf::integer(std::string_view name) const {
  const GgufKey *found = key(name);
  if (!found)
    return Error{fmt::format("'{}' has no key '{}'", path(), shown(name)), Exit::ForeignFile};
  const uint8_t *p = file->bytes().data() + found->offset;
  switch (found->type) {
  case GgufType::U8:
    return int64_t(load<uint8_t>(p));
  case GgufType::I8:
    return int64_t(load<int8_t>(p));
  case GgufType::U16:
    return int64_t(load<uint16_t>(p));
  case GgufType::I16:
    return int64_t(load<int16_t>(p));
  case GgufType::U32:
    return int64_t(load<uint32_t>(p));
  case GgufType::I32:
    return int64_t(load<int32_t>(p));
  case GgufType::I64:
    return load<int64_t>(p);
  case GgufType::U64:
    if (load<uint64_t>(p) > uint64_t(INT64_MAX))
      return keyError(*found, "its value is beyond int64");
    return int64_t(load<uint64_t>(p));
  default:
    return keyError(*found, "expected an integer");
  }
}

Result<double> Gguf::number(std::string_view name) const {
  const GgufKey *found = key(name);
  if (found && found->type == GgufType::F32)
    return double(load<float>(file->bytes().data() + found->offset));
  if (found && found->type == GgufType::F64)
    return load<double>(file->bytes().data() + found->offset);
  LORAC_TRY_ASSIGN(int64_t whole, integer(name));
  return double(whole);
}

Result<bool> Gguf::truth(std::string_view name) const {
  LORAC_TRY_ASSIGN(const GgufKey *found, typed(name, GgufType::Bool));
  return file->bytes()[found->offset] != 0;
}

Result<std::string_view> Gguf::text(std::string_view name) const {
  LORAC_TRY_ASSIGN(const GgufKey *found, typed(name, GgufType::String));
  const char *p = reinterpret_cast<const char *>(file->bytes().data()) + found->offset;
  return std::string_view(p + 8, found->size - 8);
}

Result<std::vector<std::string_view>> Gguf::texts(std::string_view name) const {
  LORAC_TRY_ASSIGN(const GgufKey *found, typedArray(name, GgufType::String));
  std::vector<std::string_view> out;
  out.reserve(found->count);
  // The parser has walked these lengths.
  const uint8_t *p = file->bytes().data() + found->offset;
  for (uint64_t i = 0; i < found->count; ++i) {
    const auto length = load<uint64_t>(p);
    out.emplace_back(reinterpret_cast<const char *>(p) + 8, length);
    p += 8 + length;
  }
  return out;
}

Result<std::vector<float>> Gguf::floats(std::string_view name) const {
  LORAC_TRY_ASSIGN(const GgufKey *found, typedArray(name, GgufType::F32));
  std::vector<float> out(found->count);
  if (!out.empty())
    memcpy(out.data(), file->bytes().data() + found->offset, out.size() * 4);
  return out;
}

Result<std::vector<int32_t>> Gguf::integers(std::string_view name) const {
  const GgufKey *unsignedKey = key(name);
  const bool isUnsigned =
      unsignedKey && unsignedKey->type == GgufType::Array && unsignedKey->element == GgufType::U32;
  LORAC_TRY_ASSIGN(const GgufKey *found,
                   typedArray(name, isUnsigned ? GgufType::U32 : GgufType::I32));
  std::vector<int32_t> out(found->count);
  if (!out.empty())
    memcpy(out.data(), file->bytes().data() + found->offset, out.size() * 4);
  if (isUnsigned)
    for (const int32_t v : out)
      if (v < 0)
        return keyError(*found, "a value is beyond int32");
  return out;
}

Result<void> Gguf::checkReadable(const GgufTensor &tensor) const {
  const GgmlTypeInfo *info = ggmlTypeInfo(tensor.type);
  if (info->kept)
    return {};
  return Error{fmt::format("'{}': tensor '{}' is {}, which this version does not read; use a file "
                           "of {}",
                           path(), shown(tensor.name), info->name, readableGgmlTypes()),
               Exit::ForeignFile};
}

Result<std::vector<float>> Gguf::tensorFloats(std::string_view name) const {
  const GgufTensor *found = tensor(name);
  if (!found)
    return Error{fmt::format("'{}' has no tensor '{}'", path(), shown(name)), Exit::ForeignFile};
  LORAC_TRY(checkReadable(*found));
  int64_t count = 1;
  for (const int64_t dim : found->shape)
    count *= dim;
  std::vector<float> out(static_cast<size_t>(count));
  decodeRow(GgmlType(found->type), bytes(*found).data(), out.data(), count);
  return out;
}

} // namespace lorac::formats
