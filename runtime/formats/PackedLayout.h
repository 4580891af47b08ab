#pragma once
// Sizes of the parts of a packed weight (docs/plan.md, "Frozen weights"). No
// dependencies beyond WeightFormat.h: the compiler plans with it, the runtime allocates and fills
// with it.

#include "runtime/formats/WeightFormat.h"

namespace lorac::formats {

constexpr int64_t panelRows = 16;    ///< rows of W in one panel
constexpr int64_t nestedBlock = 256; ///< absmax values per nested absmax
constexpr int64_t nestedHead = 257;  ///< `nested` starts with the map of 256 and the offset

inline int64_t panelCount(int64_t n) { return (n + panelRows - 1) / panelRows; }
/// Scales of a weight with codes, in panels.
inline int64_t scaleCount(const WeightFormat &f, int64_t n, int64_t k) {
  return f.kind == WeightFormat::Integers ? n * (k / f.block) : (n * k + f.block - 1) / f.block;
}

inline int partCount(const WeightFormat &f) { return partsOf(f).count; }

/// Bytes of a part of a weight [n, k]; a vector is [n] and k is not looked at. n*k must fit int64
/// with room for a factor 64.
inline int64_t partBytes(const WeightFormat &f, int part, int64_t n, int64_t k) {
  const FormatPart p = partsOf(f).list[part];
  const int64_t bytes = traits(p.element).bytes;
  switch (p.role) {
  case FormatPart::Values:
    return bytes * (f.kind == WeightFormat::Vector ? n : panelCount(n) * panelRows * k);
  case FormatPart::Codes:
    return panelCount(n) * panelRows * k * f.bits / 8;
  case FormatPart::Scales:
  case FormatPart::Minima:
    return bytes * scaleCount(f, n, k);
  case FormatPart::Nested:
    break;
  }
  return bytes * (nestedHead + (scaleCount(f, n, k) + nestedBlock - 1) / nestedBlock);
}

/// Whether the format can hold [n, k] at all: blocks along a row must be whole.
inline bool formatFits(const WeightFormat &f, int64_t n, int64_t k) {
  return n > 0 && (f.kind == WeightFormat::Vector ||
                   (k > 0 && (f.kind != WeightFormat::Integers || k % f.block == 0)));
}

} // namespace lorac::formats
