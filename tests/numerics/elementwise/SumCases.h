// Kernels of the families `sum_spans` and `sum_whole` with their meaning as plain loops: one set of
// cases for both targets, which must give the same bits.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_SUMCASES_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_SUMCASES_H

#include "tests/numerics/elementwise/EachCases.h"

namespace lorac::testing {

using Doubles = std::vector<double>;

struct SumCase {
  std::string body;
  int64_t regions;
  double (*one)(const float *x); ///< what the body yields

  std::string params() const; ///< as the attribute dictionary prints, without braces
};

/// As AppendUpdate writes it.
SumCase squares();
/// Of two regions; not 0 where both are.
SumCase products();

/// As AppendUpdate writes it: from the sum, max_norm and gradient_scale to norm and clip.
struct NormCase {
  std::string body, params;
};
NormCase normOfSquares();

/// Numbers i added to partial i mod 256, in order; partials halved, 128, 64, …, 1.
double sumOf(const Doubles &numbers);
Doubles sumsOfSpans(const SumCase &of, const EachData &data);
/// {max_norm, gradient_scale, norm, clip} of these sums.
Floats normOf(const Doubles &sums, float maxNorm, float gradientScale);

/// Spans of 1 to 4096 elements; what lies between them is NaN.
EachData randomSpans(int64_t regions, unsigned seed);
/// From 1e-30 to 1e30, `count` of them.
Doubles randomSums(size_t count, unsigned seed);

} // namespace lorac::testing

#endif
