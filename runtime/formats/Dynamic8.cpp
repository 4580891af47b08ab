#include "runtime/formats/Dynamic8.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace lorac::formats {
namespace {

constexpr int gridPoints = 65536;

/// torch.linspace in float32: both halves count from their own end, with one rounding a value.
float linspace(float begin, float end, int count, int i) {
  const float step = (end - begin) / float(count - 1);
  return i < count / 2 ? std::fma(step, float(i), begin)
                       : std::fma(-step, float(count - 1 - i), end);
}

/// Powers of ten from 1e-6 to 1, each twice as fine as the one below; half as fine where a sign is
/// kept.
std::array<float, 256> makeMap(bool isSigned) {
  constexpr int exponents = 7;
  std::array<float, 256> map{};
  size_t at = 0;
  for (int e = 0; e < exponents; ++e) {
    const int items = (isSigned ? 1 << e : 2 << e) + 1;
    const auto power = float(std::pow(10.0, e - (exponents - 1)));
    for (int i = 0; i + 1 < items; ++i) {
      const float mean =
          (linspace(0.1f, 1.0f, items, i) + linspace(0.1f, 1.0f, items, i + 1)) / 2.0f;
      map[at++] = power * mean;
      if (isSigned)
        map[at++] = -power * mean;
    }
  }
  map[at++] = 0.0f;
  map[at++] = 1.0f;
  std::sort(map.begin(), map.end());
  return map;
}

struct Tables {
  std::array<float, 256> map;
  std::array<uint8_t, gridPoints> codes; ///< of each point of the grid

  explicit Tables(bool isSigned) : map(makeMap(isSigned)) {
    for (int i = 0; i < gridPoints; ++i) {
      const float value = float(i) / float(gridPoints - 1) * 2.0f - 1.0f;
      const float *right = std::lower_bound(map.begin(), map.end(), value);
      if (right == map.begin())
        codes[i] = 0;
      else if (right == map.end())
        codes[i] = 255;
      else
        codes[i] = uint8_t((*right - value < value - right[-1] ? right : right - 1) - map.data());
    }
  }
};

const Tables &tablesOf(Dynamic8 kind) {
  static const Tables ofSigned(true), ofUnsigned(false);
  return kind == Dynamic8::Signed ? ofSigned : ofUnsigned;
}

} // namespace

const float *dynamicMap(Dynamic8 kind) { return tablesOf(kind).map.data(); }

uint8_t dynamicZero(Dynamic8 kind) {
  const float *map = dynamicMap(kind);
  return uint8_t(std::find(map, map + 256, 0.0f) - map);
}

DynamicTable dynamicTable(Dynamic8 kind) {
  const Tables &tables = tablesOf(kind);
  DynamicTable table;
  table.fill(std::numeric_limits<float>::infinity());
  std::copy(tables.map.begin(), tables.map.end(), table.begin());
  for (int i = gridPoints - 1; i > 0; --i) // codes never fall along the grid
    for (int code = tables.codes[i - 1]; code < tables.codes[i]; ++code)
      table[size_t(256 + code)] = float(i);
  for (int code = 0; code < tables.codes[0]; ++code)
    table[size_t(256 + code)] = 0.0f;
  return table;
}

float quantizeDynamic(Dynamic8 kind, std::span<const float> values, uint8_t *codes) {
  const Tables &tables = tablesOf(kind);
  float absmax = 0;
  for (const float value : values)
    absmax = std::max(absmax, std::fabs(value));
  const float inverse = 1.0f / absmax;
  if (!std::isfinite(inverse)) {
    std::fill_n(codes, values.size(), uint8_t(0));
    return 0;
  }
  for (size_t i = 0; i < values.size(); ++i) {
    const float x = values[i] * inverse, atLeast = x > -1.0f ? x : -1.0f, // -1 where it is NaN
        bounded = atLeast < 1.0f ? atLeast : 1.0f;
    codes[i] = tables.codes[size_t((bounded + 1.0f) * 0.5f * 65535.0f + 0.5f)];
  }
  return absmax;
}

} // namespace lorac::formats
