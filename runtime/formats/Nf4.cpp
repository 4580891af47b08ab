#include "runtime/formats/Nf4.h"
#include "runtime/formats/Codebooks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace lorac::formats {
namespace {

/// Smallest divisor of bitsandbytes' CPU path.
constexpr float tiny = 1e-38f;

/// Codes in ascending order of their values, and the midpoints between neighbours.
struct Search {
  std::array<uint8_t, 16> order;
  std::array<float, 15> bounds;

  explicit Search(const float *codes) {
    std::iota(order.begin(), order.end(), uint8_t(0));
    std::stable_sort(order.begin(), order.end(),
                     [&](uint8_t a, uint8_t b) { return codes[a] < codes[b]; });
    for (int i = 0; i < 15; ++i)
      bounds[i] = (codes[order[i]] + codes[order[i + 1]]) / 2.0f;
  }
  /// The number of bounds below the value: an exact tie goes to the lower code.
  uint8_t code(float value) const {
    unsigned i = value > bounds[7] ? 8 : 0;
    i += value > bounds[i + 3] ? 4 : 0;
    i += value > bounds[i + 1] ? 2 : 0;
    i += value > bounds[i] ? 1 : 0;
    return order[i];
  }
};

const Search &searchOf(FourBit type) {
  static const Search nf4(nf4Codes), fp4(fp4Codes);
  return type == FourBit::Nf4 ? nf4 : fp4;
}

/// torch.linspace in float32: both halves count from their own end, with one rounding a value.
float linspace(float begin, float end, int count, int i) {
  const float step = (end - begin) / float(count - 1);
  return i < count / 2 ? std::fma(step, float(i), begin)
                       : std::fma(-step, float(count - 1 - i), end);
}

std::array<float, 256> makeDynamicMap() {
  constexpr int exponents = 7;
  std::array<float, 256> map{};
  size_t at = 0;
  for (int e = 0; e < exponents; ++e) {
    const int items = (1 << e) + 1;
    const auto power = float(std::pow(10.0, e - (exponents - 1)));
    for (int i = 0; i + 1 < items; ++i) {
      const float mean =
          (linspace(0.1f, 1.0f, items, i) + linspace(0.1f, 1.0f, items, i + 1)) / 2.0f;
      map[at++] = power * mean;
      map[at++] = -power * mean;
    }
  }
  map[at++] = 0.0f;
  map[at++] = 1.0f;
  std::sort(map.begin(), map.end());
  return map;
}

/// The code nearest to each of the 65,536 grid points over [-1, 1] on which bitsandbytes' CPU
/// quantizer rounds first.
const std::array<uint8_t, 65536> &gridCodes() {
  static const std::array<uint8_t, 65536> codes = [] {
    std::array<uint8_t, 65536> out{};
    const float *map = dynamicMap();
    for (int i = 0; i < 65536; ++i) {
      const float value = float(i) / 65535.0f * 2.0f - 1.0f;
      const float *right = std::lower_bound(map, map + 256, value);
      if (right == map)
        out[i] = 0;
      else if (right == map + 256)
        out[i] = 255;
      else
        out[i] = uint8_t((*right - value < value - right[-1] ? right : right - 1) - map);
    }
    return out;
  }();
  return codes;
}

} // namespace

const float *fourBitCodes(FourBit type) { return type == FourBit::Nf4 ? nf4Codes : fp4Codes; }

const float *dynamicMap() {
  static const std::array<float, 256> map = makeDynamicMap();
  return map.data();
}

float quantizeBlock(FourBit type, const float *values, int64_t count, bool whole, uint8_t *codes) {
  const Search &search = searchOf(type);
  float absmax = 0;
  for (int64_t i = 0; i < count; ++i)
    absmax = std::max(absmax, std::fabs(values[i]));
  if (!whole) {
    absmax = std::max(absmax, tiny);
    for (int64_t i = 0; i < count; ++i)
      codes[i] = search.code(std::clamp(values[i] / absmax, -1.0f, 1.0f));
    return absmax;
  }
  const float inverse = 1.0f / std::max(absmax, tiny);
  for (int64_t i = 0; i < count; ++i)
    codes[i] = search.code(std::clamp(values[i] * inverse, -1.0f, 1.0f));
  return absmax;
}

float nestedOffset(std::span<const float> absmax) {
  double sum = 0;
  for (const float value : absmax)
    sum += value;
  return float(sum / double(absmax.size()));
}

void quantizeNested(std::span<const float> absmax, float offset, uint8_t *codes,
                    float *nestedAbsmax) {
  constexpr size_t block = 256;
  const std::array<uint8_t, 65536> &grid = gridCodes();
  for (size_t begin = 0; begin < absmax.size(); begin += block) {
    const size_t end = std::min(absmax.size(), begin + block);
    float largest = 0;
    for (size_t i = begin; i < end; ++i)
      largest = std::max(largest, std::fabs(absmax[i] - offset));
    nestedAbsmax[begin / block] = largest;
    for (size_t i = begin; i < end; ++i) {
      if (largest == 0.0f || !std::isfinite(largest)) {
        codes[i] = 0;
        continue;
      }
      const float x = std::clamp((absmax[i] - offset) / largest, -1.0f, 1.0f);
      codes[i] = grid[size_t(std::floor((x + 1.0f) * 0.5f * 65535.0f + 0.5f))];
    }
  }
}

float decodeNested(uint8_t code, float nestedAbsmax, float offset) {
  return dynamicMap()[code] * nestedAbsmax + offset;
}

} // namespace lorac::formats
