#pragma once
// Frozen weights by rows (docs/cuda.md), from the CPU's panels element by element: another way than
// the runtime's.

#include "runtime/formats/WeightFormat.h"

#include <vector>

namespace lorac::test {

struct RowParts {
  std::vector<std::vector<char>> parts;
  /// [n, k] as kernels see them, before they are rounded to the compute type.
  std::vector<float> values;
};

/// `dense` is W [n, k] in float32; a vector has k = 0.
RowParts packRows(const formats::WeightFormat &format, int64_t n, int64_t k,
                  const std::vector<float> &dense);

} // namespace lorac::test
