#pragma once
// Between which bounds a spec's number may lie.

#include <cmath>
#include <cstdint>
#include <limits>

namespace lorac::dsl {

constexpr int64_t MaxCount = int64_t(1)
                             << 31; // of steps, tokens and the like: products stay within 63 bits
constexpr int64_t MaxRank = 65536;
constexpr int64_t MaxParameters = int64_t(1) << 62;

/// Whether float32, in which kernels compute, holds the number: not as infinity, nor as 0 where it
/// is none.
inline bool fitsFloat32(double value) {
  return std::abs(value) <= std::numeric_limits<float>::max() &&
         (value == 0 || static_cast<float>(value) != 0);
}

struct Bounds {
  enum class Kind { Plain, Rank, PowerOfTwo }; ///< what a message calls them
  static constexpr double none = std::numeric_limits<double>::infinity();

  double low = -none, high = none;
  bool lowIn = true, highIn = true;
  Kind kind = Kind::Plain;

  /// Numbers that are not finite never fit bounds.
  bool fit(double value) const {
    if (!std::isfinite(value) || !(lowIn ? value >= low : value > low) ||
        !(highIn ? value <= high : value < high))
      return false;
    const auto whole = static_cast<uint64_t>(kind == Kind::PowerOfTwo ? value : 1);
    return (whole & (whole - 1)) == 0;
  }
  bool fit(int64_t value) const { return fit(static_cast<double>(value)); }
};

constexpr Bounds within(double low, double high) { return {low, high}; }
/// low <= value < high.
constexpr Bounds upTo(double low, double high) { return {low, high, true, false}; }
/// low < value < high.
constexpr Bounds between(double low, double high) { return {low, high, false, false}; }
constexpr Bounds atLeast(double low) { return upTo(low, Bounds::none); }
constexpr Bounds above(double low) { return between(low, Bounds::none); }
constexpr Bounds rank(int64_t least) {
  return {double(least), double(MaxRank), true, true, Bounds::Kind::Rank};
}
constexpr Bounds powersOfTwo(double low, double high) {
  return {low, high, true, true, Bounds::Kind::PowerOfTwo};
}

} // namespace lorac::dsl
