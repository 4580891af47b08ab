#pragma once
// Arithmetic on numbers that a foreign file gives, and how its names are shown. Nothing else in
// this folder adds or multiplies such numbers by itself.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace lorac::formats {

/// False on overflow.
inline bool checkedAdd(uint64_t a, uint64_t b, uint64_t &out) {
  return !__builtin_add_overflow(a, b, &out);
}
inline bool checkedMul(uint64_t a, uint64_t b, uint64_t &out) {
  return !__builtin_mul_overflow(a, b, &out);
}
/// The next multiple of `alignment` (not 0). False on overflow.
inline bool checkedAlignUp(uint64_t value, uint64_t alignment, uint64_t &out) {
  const uint64_t past = value % alignment;
  return checkedAdd(value, past == 0 ? 0 : alignment - past, out);
}

/// A foreign name fit for a message: control characters, quotes and bytes beyond ASCII as \xNN, at
/// most 120 characters.
std::string shown(std::string_view name);
/// "[2, 3]".
std::string shownShape(std::span<const int64_t> shape);
/// "a, b and c", where `last` is "and".
std::string listed(std::span<const std::string> words, std::string_view last);

} // namespace lorac::formats
