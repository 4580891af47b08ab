#pragma once
// Rows of a matrix as codes, whatever they are laid out in: as the file stores them, or quantized.

#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/WeightFormat.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::formats {

/// Whether the rows are stored as `format` has them.
bool isKept(const RowSource &source, const WeightFormat &format);

/// One thread's reader of a weight with codes.
class CodeRows {
public:
  /// `finite` is told of all values.
  CodeRows(const RowSource &source, const WeightFormat &format, FiniteRows &finite)
      : source(source), format(format), finite(finite) {}

  /// Codes of the rows [begin, end), one a byte and row-major, with `spare` zeros behind; valid
  /// until the next call. Of a codebook, the scale of each block whose first value lies in these
  /// rows comes into `absmax`, by block of the flat matrix.
  const uint8_t *read(int64_t begin, int64_t end, int64_t spare, float *absmax);
  /// Of integers: those of the rows last read, row after row.
  std::span<const float> scales() const { return scaleRows; }
  std::span<const float> minima() const { return minimumRows; }

private:
  const uint8_t *keep(int64_t begin, int64_t end, int64_t spare, float *absmax);
  /// Blocks run over the flat matrix, so one that straddles the ends of the range needs values of
  /// its neighbours.
  const uint8_t *quantize(int64_t begin, int64_t end, int64_t spare, float *absmax);

  const RowSource &source;
  const WeightFormat &format;
  FiniteRows &finite;
  std::vector<float> values, scaleRows, minimumRows;
  std::vector<uint8_t> codes;
};

/// A value from its code and the parts beside the codes: `at`, the place of its scale in them;
/// `block`, its block in the flat matrix.
float decodedValue(const WeightFormat &format, std::span<const void *const> parts, uint8_t code,
                   int64_t at, int64_t block);

} // namespace lorac::formats
