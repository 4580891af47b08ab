// f16 and bf16 as numbers: to float without loss, and back with one rounding.
#ifndef PTXSIM_OPS_HALFNUMBERS_H
#define PTXSIM_OPS_HALFNUMBERS_H

#include <bit>
#include <cmath>
#include <cstdint>

namespace ptxsim {

inline float fromBf16(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

/// To the nearest, ties to even. NaN becomes the canonical one.
inline uint16_t toBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? 0x7fff : rounded);
}

inline float fromF16(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t magnitude = bits & 0x7fff;
  if (magnitude >= 0x7c00) // infinity, NaN
    return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude < 0x400) { // subnormal
    float value = static_cast<float>(magnitude) * 0x1p-24f;
    return sign ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
}

inline uint16_t toF16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return 0x7fff;
  if (magnitude >= 0x47800000) // 65536 and above
    return sign | 0x7c00;
  if (magnitude < 0x38800000) { // below 2^-14: adding 0.5 rounds at the last bit of a subnormal
    float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000);
  }
  uint32_t rounded = magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1);
  return sign | static_cast<uint16_t>(rounded >> 13);
}

/// Rounds to odd: an inexact result ends in a one, so that a second rounding to fewer bits is
/// right.
inline float oddFloat(double value) {
  auto narrow = static_cast<float>(value);
  if (static_cast<double>(narrow) == value || value != value)
    return narrow;
  uint32_t bits = std::bit_cast<uint32_t>(narrow);
  if (std::fabs(static_cast<double>(narrow)) > std::fabs(value))
    --bits; // towards zero; infinity becomes the largest number
  return std::bit_cast<float>(bits | 1);
}

inline double oddSum(double a, double b) {
  double sum = a + b;
  if (!std::isfinite(sum))
    return sum;
  double other = sum - a;
  double error = (a - (sum - other)) + (b - other);
  if (error == 0)
    return sum;
  uint64_t bits = std::bit_cast<uint64_t>(sum);
  if ((error < 0) == (sum > 0)) // the sum was rounded away from zero
    --bits;
  return std::bit_cast<double>(bits | 1);
}

} // namespace ptxsim

#endif
