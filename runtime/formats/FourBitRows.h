#pragma once
// Rows of a matrix as 4-bit codes. Blocks run over the flat matrix, so one that straddles the ends
// of a range of rows needs values of its neighbours: every layout of a 4-bit weight takes its codes
// from here.

#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/WeightFormat.h"

#include <cstdint>
#include <vector>

namespace lorac::formats {

/// One thread's quantizer of an nf4 or fp4 weight.
class FourBitRows {
public:
  /// `finite` is told of all values.
  FourBitRows(const RowSource &source, const WeightFormat &format, FiniteRows &finite)
      : source(source), format(format), finite(finite) {}

  /// Codes of the rows [begin, end), one a byte and row-major, with `spare` zeros behind; valid
  /// until the next call. Absmax is written for each block whose first value lies in these rows.
  const uint8_t *quantize(int64_t begin, int64_t end, int64_t spare, float *absmax);

private:
  const RowSource &source;
  const WeightFormat &format;
  FiniteRows &finite;
  std::vector<float> values;
  std::vector<uint8_t> codes;
};

} // namespace lorac::formats
