// A random frozen weight in any storage format: its parts as docs/plan.md lays them out, and its
// values.
#ifndef LORAC_TESTS_NUMERICS_GEMM_PACKEDMATRIX_H
#define LORAC_TESTS_NUMERICS_GEMM_PACKEDMATRIX_H

#include "tests/numerics/gemm/CompiledKernels.h"
#include <random>

namespace lorac::testing {

struct PackedMatrix {
  int64_t n, k;
  std::vector<Aligned> parts;
  std::vector<float> values; ///< [n][k]

  /// `format` as docs/plan.md spells it. Scales of rows beyond n and padding are poisoned where
  /// the format allows it.
  PackedMatrix(const std::string &format, int64_t n, int64_t k, unsigned seed);
  float at(int64_t row, int64_t column) const { return values[row * k + column]; }
};

/// IEEE half, round to nearest even, for finite values in range.
uint16_t toHalf(float value);
float fromHalf(uint16_t bits);

} // namespace lorac::testing

#endif
