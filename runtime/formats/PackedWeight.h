#pragma once
// Fills the parts of a packed weight (docs/plan.md, "Frozen weights") from rows,
// and reads them back.

#include "runtime/Result.h"
#include "runtime/formats/ModelSource.h"
#include "runtime/formats/PackedLayout.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace lorac::formats {

/// Runs `body(begin, end)` over ranges that cut [0, count), on one thread or several. Empty: one
/// call on this thread.
using ParallelFor =
    std::function<void(int64_t count, const std::function<void(int64_t begin, int64_t end)> &body)>;

/// Writes all parts; `parts[i]` has partBytes(format, i, n, k) bytes. For a vector, source is [1,
/// n]. The bytes do not depend on how `parallel` cuts. Beyond the parts it needs a few rows per
/// thread and, for double quantization, one float a block. Integers are those of a source that
/// stores this format; other sources are an error, and so is a value that is not finite, or not so
/// in the 16 bits that keep it: Exit::ForeignFile, with its position.
Result<void> packWeight(const RowSource &source, const WeightFormat &format,
                        std::span<void *const> parts, const ParallelFor &parallel = {});

/// Whether these rows can be packed in this format at all, in whatever layout; the error says what
/// to choose.
Result<void> checkPackable(const RowSource &source, const WeightFormat &format);

/// One row of W as float32 from the packed parts, element by element as the format states it: the
/// oracle of kernels.
void unpackRow(const WeightFormat &format, int64_t n, int64_t k, std::span<const void *const> parts,
               int64_t row, float *out);

/// Rows in memory, dense float32 (not copied).
std::unique_ptr<RowSource> denseRows(const float *values, int64_t n, int64_t k);

/// Initial weights of a model without a source, Hugging Face's rule: N(0, std) where `shape` is a
/// matrix, ones where it is a vector. Element i of a tensor depends on seed, name and i alone
/// (Philox4x32-10, Box-Muller in double).
std::unique_ptr<RowSource> seededRows(uint64_t seed, const std::string &name,
                                      const std::vector<int64_t> &shape, double std = 0.02);

} // namespace lorac::formats
