#include "runtime/formats/FiniteRows.h"

#include "runtime/formats/Finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace lorac::formats {

void FiniteRows::note(int64_t flat) {
  int64_t seen = first;
  while (flat < seen && !first.compare_exchange_weak(seen, flat))
    ;
}

void FiniteRows::look(int64_t row, std::span<const float> values) {
  if (const std::optional<size_t> at = firstNotFinite(values))
    note(row * source.cols() + int64_t(*at));
}

void FiniteRows::lookKept(int64_t row, std::span<const uint16_t> bits, uint16_t exponent) {
  bool all = true;
  for (const uint16_t value : bits)
    all &= (value & exponent) != exponent;
  if (all)
    return;
  const auto at = std::find_if(bits.begin(), bits.end(),
                               [&](uint16_t value) { return (value & exponent) == exponent; });
  note(row * source.cols() + (at - bits.begin()));
}

void FiniteRows::distrust(int64_t row) {
  std::vector<float> values(size_t(source.cols()));
  source.readRow(row, values.data());
  look(row, values);
}

Error FiniteRows::error() const {
  const int64_t row = first / source.cols(), col = first % source.cols();
  std::vector<float> values(size_t(source.cols()));
  source.readRow(row, values.data());
  const float value = values[size_t(col)];
  const std::string place =
      source.rows() == 1 ? fmt::format("[{}]", col) : fmt::format("[{}, {}]", row, col);
  return {std::isfinite(value)
              ? fmt::format("{} at {} is too large for the 16 bits that it is kept in; choose "
                            "another compute_dtype or format",
                            numberText(value), place)
              : fmt::format("it is {} at {}: the file is damaged, or its training went wrong; "
                            "fetch or save the model again",
                            numberText(value), place),
          Exit::ForeignFile};
}

} // namespace lorac::formats
