#include "runtime/formats/Safetensors.h"
#include "runtime/formats/Blocks.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace lorac::formats {
namespace {

constexpr struct {
  DType type;
  std::string_view name;
  int64_t size;
} dtypes[] = {
    {DType::Bool, "BOOL", 1},      {DType::U8, "U8", 1},          {DType::I8, "I8", 1},
    {DType::F8E4M3, "F8_E4M3", 1}, {DType::F8E5M2, "F8_E5M2", 1}, {DType::I16, "I16", 2},
    {DType::U16, "U16", 2},        {DType::F16, "F16", 2},        {DType::BF16, "BF16", 2},
    {DType::I32, "I32", 4},        {DType::U32, "U32", 4},        {DType::F32, "F32", 4},
    {DType::F64, "F64", 8},        {DType::I64, "I64", 8},        {DType::U64, "U64", 8}};

template <typename T>
T load(const uint8_t *p) {
  T v;
  memcpy(&v, p, sizeof v);
  return v;
}

} // namespace

int64_t dtypeSize(DType type) { return dtypes[size_t(type)].size; }
std::string_view toString(DType type) { return dtypes[size_t(type)].name; }
std::optional<DType> parseDType(std::string_view name) {
  for (const auto &d : dtypes)
    if (d.name == name)
      return d.type;
  return std::nullopt;
}

Result<Safetensors> Safetensors::open(const std::string &path) {
  LORAC_TRY_ASSIGN(std::shared_ptr<const MappedFile> file, MappedFile::open(path));
  return parse(file);
}

const TensorInfo *Safetensors::find(const std::string &name) const {
  const auto found = byName.find(name);
  return found == byName.end() ? nullptr : &infos[found->second];
}

Result<std::vector<float>> Safetensors::floats(const std::string &name) const {
  const TensorInfo *tensor = find(name);
  if (!tensor)
    return Error{fmt::format("'{}' has no tensor '{}'", path(), shown(name)), Exit::ForeignFile};
  const uint8_t *p = bytes(*tensor).data();
  std::vector<float> out(size_t(tensor->count()));
  switch (tensor->dtype) {
  case DType::F32:
    if (!out.empty())
      memcpy(out.data(), p, out.size() * 4);
    return out;
  case DType::F16:
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = f16ToF32(load<uint16_t>(p + 2 * i));
    return out;
  case DType::BF16:
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = bf16ToF32(load<uint16_t>(p + 2 * i));
    return out;
  case DType::F64:
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = float(load<double>(p + 8 * i));
    return out;
  default:
    return Error{fmt::format("'{}': tensor '{}' is {}; expected F32, F16, BF16 or F64", path(),
                             shown(name), toString(tensor->dtype)),
                 Exit::ForeignFile};
  }
}

Result<void> Safetensors::checkIntegers(const std::string &name) const {
  const TensorInfo *tensor = find(name);
  if (!tensor)
    return Error{fmt::format("'{}' has no tensor '{}'", path(), shown(name)), Exit::ForeignFile};
  switch (tensor->dtype) {
  case DType::Bool:
  case DType::U8:
  case DType::I8:
  case DType::I16:
  case DType::U16:
  case DType::I32:
  case DType::U32:
  case DType::I64:
  case DType::U64:
    return {};
  default:
    return Error{fmt::format("'{}': tensor '{}' is {}; expected integers", path(), shown(name),
                             toString(tensor->dtype)),
                 Exit::ForeignFile};
  }
}

Result<std::vector<int64_t>> Safetensors::integers(const std::string &name) const {
  LORAC_TRY(checkIntegers(name));
  const TensorInfo *tensor = find(name);
  const uint8_t *p = bytes(*tensor).data();
  std::vector<int64_t> out(size_t(tensor->count()));
  auto copy = [&]<typename T>(T) {
    for (size_t i = 0; i < out.size(); ++i)
      out[i] = int64_t(load<T>(p + sizeof(T) * i));
  };
  switch (tensor->dtype) {
  case DType::Bool:
  case DType::U8:
    copy(uint8_t());
    break;
  case DType::I8:
    copy(int8_t());
    break;
  case DType::I16:
    copy(int16_t());
    break;
  case DType::U16:
    copy(uint16_t());
    break;
  case DType::I32:
    copy(int32_t());
    break;
  case DType::U32:
    copy(uint32_t());
    break;
  case DType::I64:
    copy(int64_t());
    break;
  case DType::U64:
    copy(uint64_t());
    if (std::any_of(out.begin(), out.end(), [](int64_t v) { return v < 0; }))
      return Error{fmt::format("'{}': tensor '{}' has a value beyond int64", path(), shown(name)),
                   Exit::ForeignFile};
    break;
  default:
    break;
  }
  return out;
}

} // namespace lorac::formats
