#include "tests/ptxsim/ops/TensorCore.h"
#include <algorithm>
#include <cmath>
#include <cstdint>

namespace ptxsim {
namespace {

// One fused multiply-add after the other, in the order of k.
template <class Sum>
void sequential(TensorTile &tile) {
  for (int row = 0; row < 16; ++row) {
    Sum sums[8];
    for (int column = 0; column < 8; ++column)
      sums[column] = tile.c[row][column];
    for (int k = 0; k < tile.k; ++k) {
      Sum factor = tile.a[k / 8][row][k % 8];
      for (int column = 0; column < 8; ++column)
        sums[column] = std::fma(factor, static_cast<Sum>(tile.b[k][column]), sums[column]);
    }
    for (int column = 0; column < 8; ++column)
      tile.c[row][column] = static_cast<float>(sums[column]);
  }
}

// Eight exact products and the addend, aligned to the largest of them and cut at two bits below a
// float's last one, then added without rounding; the sum is cut to a float. After Fasi et al.,
// "Numerical behavior of NVIDIA tensor cores" (2021), for the A100.
float alignedSum(const float *a, const float (*b)[8], int column, float addend) {
  constexpr int products = 8, extraBits = 2;
  double terms[products + 1];
  double largest = 0, plain = addend;
  for (int k = 0; k < products; ++k) {
    terms[k] = static_cast<double>(a[k]) * static_cast<double>(b[k][column]);
    plain += terms[k];
  }
  terms[products] = addend;
  for (double term : terms)
    largest = std::max(largest, std::fabs(term));
  if (largest == 0 || !std::isfinite(plain))
    return static_cast<float>(plain);
  int exponent = std::ilogb(largest);
  int shift = 23 + extraBits - exponent;
  int64_t sum = 0;
  for (double term : terms)
    sum += static_cast<int64_t>(std::scalbn(term, shift)); // the cast cuts
  double exact = std::scalbn(static_cast<double>(sum), -shift);
  auto rounded = static_cast<float>(exact);
  if (std::fabs(static_cast<double>(rounded)) > std::fabs(exact))
    rounded = std::nextafter(rounded, 0.0f);
  return rounded;
}

void truncating(TensorTile &tile) {
  for (int first = 0; first < tile.k; first += 8)
    for (int row = 0; row < 16; ++row)
      for (int column = 0; column < 8; ++column)
        tile.c[row][column] =
            alignedSum(tile.a[first / 8][row], &tile.b[first], column, tile.c[row][column]);
}

} // namespace

void multiplyTile(TensorTile &tile, MmaMode mode) {
  switch (mode) {
  case MmaMode::Sequential:
    return sequential<float>(tile);
  case MmaMode::Double:
    return sequential<double>(tile);
  case MmaMode::Truncating:
    return truncating(tile);
  }
}

} // namespace ptxsim
