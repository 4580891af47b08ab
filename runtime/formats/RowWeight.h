#pragma once
// Fills the parts of a weight by rows (docs/cuda.md, "Frozen weights by rows") from rows, and reads
// them back. Numbers are quantized as in panels: the same codes and scales, another arrangement.

#include "runtime/Result.h"
#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/RowLayout.h"

#include <span>

namespace lorac::formats {

/// Writes all parts, padding included; `parts[i]` has rowPartBytes(format, i, n, k) bytes. Sources
/// and errors as of packWeight; beyond the parts it needs a few rows per thread and, for nf4 and
/// fp4, one float a block.
Result<void> packRowWeight(const RowSource &source, const WeightFormat &format, ComputeType compute,
                           std::span<void *const> parts, const ParallelFor &parallel = {});

/// One row of W as float32 from the parts, element by element as the format states it: the oracle
/// of kernels.
void unpackRowWeight(const WeightFormat &format, ComputeType compute, int64_t n, int64_t k,
                     std::span<const void *const> parts, int64_t row, float *out);

} // namespace lorac::formats
