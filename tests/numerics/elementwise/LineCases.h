// Kernels that know rows and columns of parameters (`mean_lines`, and `each` with numbers of
// those), with their meaning as plain loops in float64: one set of cases for both targets.
#ifndef LORAC_TESTS_NUMERICS_ELEMENTWISE_LINECASES_H
#define LORAC_TESTS_NUMERICS_ELEMENTWISE_LINECASES_H

#include "runtime/abi.h"
#include "tests/numerics/elementwise/EachCases.h"

namespace lorac::testing {

/// Parameters of many shapes, with a number of each element, row, column and parameter.
struct LineData {
  std::vector<LoracMatrix> matrices;
  std::vector<Span> spans; ///< whose own place is their parameter
  Floats elements, rows, columns, parameters;
  float one = 0.75f, keep = 0.9f, take = 0.1f;
};
LineData randomLines(unsigned seed);

/// What a kernel `mean_lines` is asked: over "rows", "columns" or "parameters", of
/// (element·one)² + row·column - parameter.
struct MeanCase {
  std::string line;
  bool average;

  std::string params() const; ///< as the attribute dictionary prints, without braces
  static const char *body();
  /// What the result was before: a number of each line.
  const Floats &before(const LineData &data) const;
  Floats expected(const LineData &data) const;
};
std::vector<MeanCase> meanCases();

/// `each`: elements become element / row + one·column·parameter.
std::string mapOfLinesParams();
const char *mapOfLinesBody();
Floats mapOfLines(const LineData &data);

/// Within 1e-5 of the largest.
void expectNear(const Floats &got, const Floats &wanted);

} // namespace lorac::testing

#endif
