#pragma once
// Sizes of the parts of a packed weight (docs/design.md, "Frozen weights: one packed copy"). No
// dependencies beyond WeightFormat.h: the compiler plans with it, the runtime allocates and fills
// with it.

#include "runtime/formats/WeightFormat.h"

namespace lorac::formats {

constexpr int64_t panelRows = 16;    ///< rows of W in one panel
constexpr int64_t nestedBlock = 256; ///< absmax values per nested absmax
constexpr int64_t nestedHead = 257;  ///< `nested` starts with the map of 256 and the offset

inline int64_t panelCount(int64_t n) { return (n + panelRows - 1) / panelRows; }
/// absmax values of an nf4 or fp4 weight.
inline int64_t absmaxCount(const WeightFormat &f, int64_t n, int64_t k) {
  return (n * k + f.block - 1) / f.block;
}

inline int partCount(const WeightFormat &f) {
  if (f.isNf4OrFp4())
    return f.doubleQuant ? 3 : 2;
  switch (f.kind) {
  case WeightFormat::Q4_1:
    return 3;
  case WeightFormat::Q8_0:
  case WeightFormat::Q4_0:
    return 2;
  default:
    return 1;
  }
}

inline const char *partName(const WeightFormat &f, int part) {
  if (f.kind == WeightFormat::Vector)
    return "values";
  if (!f.isNf4OrFp4() && !f.isGgmlBlocks())
    return "panels";
  if (part == 0)
    return "codes";
  if (f.isNf4OrFp4())
    return part == 1 ? "absmax" : "nested";
  return part == 1 ? "d" : "m";
}

/// Bytes of a part of a weight [n, k]; a vector is [n] and k is not looked at. n*k must fit int64
/// with room for a factor 64.
inline int64_t partBytes(const WeightFormat &f, int part, int64_t n, int64_t k) {
  const int64_t padded = f.kind == WeightFormat::Vector ? 0 : panelCount(n) * panelRows * k;
  switch (f.kind) {
  case WeightFormat::Vector:
    return n * 4;
  case WeightFormat::F32:
    return padded * 4;
  case WeightFormat::F16:
  case WeightFormat::BF16:
    return padded * 2;
  case WeightFormat::Q8_0:
    return part == 0 ? padded : n * (k / 32) * 2;
  case WeightFormat::Q4_0:
  case WeightFormat::Q4_1:
    return part == 0 ? padded / 2 : n * (k / 32) * 2;
  case WeightFormat::Nf4:
  case WeightFormat::Fp4:
    break;
  }
  const int64_t blocks = absmaxCount(f, n, k);
  if (part == 0)
    return padded / 2;
  if (part == 1)
    return f.doubleQuant ? blocks : blocks * 4;
  return (nestedHead + (blocks + nestedBlock - 1) / nestedBlock) * 4;
}

/// Whether the format can hold [n, k] at all: ggml's blocks need k to be a multiple of 32.
inline bool formatFits(const WeightFormat &f, int64_t n, int64_t k) {
  return n > 0 && (f.kind == WeightFormat::Vector || (k > 0 && (!f.isGgmlBlocks() || k % 32 == 0)));
}

} // namespace lorac::formats
