#include "runtime/formats/Nf4.h"
#include "runtime/formats/Dynamic8.h"

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

} // namespace

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
  constexpr auto block = size_t(dynamicBlock);
  std::array<float, block> centred;
  for (size_t begin = 0; begin < absmax.size(); begin += block) {
    const size_t count = std::min(block, absmax.size() - begin);
    for (size_t i = 0; i < count; ++i)
      centred[i] = absmax[begin + i] - offset;
    nestedAbsmax[begin / block] =
        quantizeDynamic(Dynamic8::Signed, std::span(centred).first(count), codes + begin);
  }
}

} // namespace lorac::formats
