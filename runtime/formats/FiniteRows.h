#pragma once
// Keeps watch over the values of a weight while it is packed, on several threads: NaN and infinity
// in a file make every loss one, and no packed format should hide them.

#include "runtime/Result.h"
#include "runtime/formats/ModelSource.h"

#include <atomic>
#include <cstdint>
#include <span>

namespace lorac::formats {

class FiniteRows {
public:
  explicit FiniteRows(const RowSource &source) : source(source) {}

  /// A row's values, as the file has them.
  void look(int64_t row, std::span<const float> values);
  /// The same row as it is kept, in 16 bits with these bits of exponent: a value may have become
  /// too large.
  void lookKept(int64_t row, std::span<const uint16_t> bits, uint16_t exponent);
  /// A row of which some block's scale is not finite.
  void distrust(int64_t row);

  bool good() const { return first == none; }
  /// Names value and position of the first that is not finite, whatever the order of threads.
  Error error() const;

private:
  void note(int64_t flat);

  static constexpr int64_t none = INT64_MAX;
  const RowSource &source;
  std::atomic<int64_t> first{none}; ///< its index in the flat matrix
};

/// Bits of exponent of float16 and bfloat16.
constexpr uint16_t f16Exponent = 0x7c00, bf16Exponent = 0x7f80;

} // namespace lorac::formats
