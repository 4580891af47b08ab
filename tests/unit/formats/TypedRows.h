#pragma once
// Rows of a weight as a file of a type stores them.

#include "runtime/formats/Blocks.h"
#include "runtime/formats/PackedWeight.h"

#include <memory>
#include <vector>

namespace lorac::formats {

class TypedRows : public RowSource {
public:
  TypedRows(GgmlType type, int64_t rows, int64_t cols, const float *values) : type(type) {
    n = rows;
    k = cols;
    bytes.resize(size_t(n * rowBytes(type, k)));
    for (int64_t row = 0; row < n; ++row)
      encodeRow(type, values + row * k, bytes.data() + row * rowBytes(type, k), k);
  }
  void readRow(int64_t row, float *out) const override { decodeRow(type, rawRow(row), out, k); }
  std::optional<GgmlType> rawType() const override { return type; }
  const uint8_t *rawRow(int64_t row) const override {
    return bytes.data() + row * rowBytes(type, k);
  }
  std::vector<uint8_t> bytes;

private:
  GgmlType type;
};

/// Rows that `format` can be packed from: of its own type where that copies blocks.
inline std::unique_ptr<RowSource> rowsFor(const WeightFormat &format, int64_t rows, int64_t cols,
                                          const float *values) {
  if (!format.isGgmlBlocks())
    return denseRows(values, rows, cols);
  return std::make_unique<TypedRows>(ggmlTypeOf(format.kind), rows, cols, values);
}

} // namespace lorac::formats
