#include "runtime/formats/Finite.h"
#include "runtime/formats/Checked.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace lorac::formats {

std::optional<size_t> firstNotFinite(std::span<const float> values) {
  // Blocks without a branch inside: an exponent of all ones is NaN or infinite.
  constexpr size_t block = 1024;
  auto isFinite = [](float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return (bits & 0x7f800000u) != 0x7f800000u;
  };
  for (size_t begin = 0; begin < values.size(); begin += block) {
    const size_t end = std::min(begin + block, values.size());
    bool all = true;
    for (size_t i = begin; i < end; ++i)
      all &= isFinite(values[i]);
    if (!all)
      for (size_t i = begin; i < end; ++i)
        if (!isFinite(values[i]))
          return i;
  }
  return std::nullopt;
}

std::string numberText(double value) {
  if (std::isnan(value))
    return "nan";
  if (std::isinf(value))
    return value > 0 ? "inf" : "-inf";
  return fmt::format("{}", value);
}

Result<void> requireFinite(std::span<const float> values, const std::string &what,
                           const std::string &tensor) {
  const std::optional<size_t> found = firstNotFinite(values);
  if (!found)
    return {};
  return Error{fmt::format("{}: '{}' is {} at position {} of {}", what, tensor,
                           numberText(values[*found]), *found, values.size())};
}

Result<void> requireFiniteTensor(std::span<const float> values, const std::string &path,
                                 const std::string &tensor, std::span<const int64_t> shape) {
  const std::optional<size_t> at = firstNotFinite(values);
  if (!at)
    return {};
  std::string place = fmt::format("[{}]", *at);
  if (shape.size() > 1)
    place = fmt::format("[{}, {}]", *at / size_t(shape.back()), *at % size_t(shape.back()));
  return Error{fmt::format("'{}': tensor '{}' is {} at {}; train or save the adapter again", path,
                           shown(tensor), numberText(values[*at]), place),
               Exit::ForeignFile};
}

} // namespace lorac::formats
