#pragma once
// Rows as a file would store them whose type kernels read as integers, or as codes of a table that
// nobody quantizes to: codes, scales and minima rounded from dense values.

#include "runtime/formats/PackedWeight.h"

#include <algorithm>
#include <cmath>

namespace lorac::test {

class CodedRows : public formats::RowSource {
public:
  CodedRows(const formats::WeightFormat &format, const float *dense, int64_t rows, int64_t cols)
      : format(format), dense(dense) {
    n = rows, k = cols;
    type.kept = format;
  }
  const formats::GgmlTypeInfo *stored() const override { return &type; }
  void readCodes(int64_t row, uint8_t *codes, float *scales, float *minima) const override {
    if (format.kind == formats::WeightFormat::Codebook)
      return readCodebook(row, codes, scales);
    const float most = format.minima ? (format.bits == 8 ? 31 : 15) : (format.bits == 8 ? 127 : 7);
    for (int64_t b = 0; b < k / format.block; ++b) {
      const float *values = dense + row * k + b * format.block;
      const auto [low, high] = std::minmax_element(values, values + format.block);
      const float least = format.minima ? kept(*low) : 0;
      const float scale =
          kept((format.minima ? *high - *low : std::max(std::fabs(*low), std::fabs(*high))) / most);
      scales[b] = scale;
      if (format.minima)
        minima[b] = least;
      for (int64_t i = 0; i < format.block; ++i) {
        const float units = scale != 0 ? (values[i] - least) / scale : 0;
        const int code = int(std::lround(std::clamp(units, format.minima ? 0 : -most, most)));
        codes[b * format.block + i] = uint8_t(format.bits == 4 && !format.minima ? code + 8 : code);
      }
    }
  }
  void readRow(int64_t, float *) const override {}

private:
  void readCodebook(int64_t row, uint8_t *codes, float *scales) const {
    const float (&table)[16] = formats::codebooks[size_t(format.codebook)].values;
    float most = 0;
    for (const float value : table)
      most = std::max(most, std::fabs(value));
    for (int64_t i = 0; i < k; ++i) {
      const int64_t b = i / format.block;
      const float *values = dense + row * k + b * format.block;
      if (i % format.block == 0) {
        scales[b] = 0;
        for (int64_t j = 0; j < format.block; ++j)
          scales[b] = std::max(scales[b], std::fabs(values[j]) / most);
      }
      const float units = scales[b] != 0 ? values[i % format.block] / scales[b] : 0;
      codes[i] = uint8_t(std::min_element(std::begin(table), std::end(table),
                                          [&](float x, float y) {
                                            return std::fabs(x - units) < std::fabs(y - units);
                                          }) -
                         std::begin(table));
    }
  }

  /// As the scales' type has it.
  float kept(float value) const {
    float place = 0;
    formats::storeElement(format.element, value, &place, 0);
    return formats::loadElement(format.element, &place, 0);
  }

  formats::GgmlTypeInfo type{"test", 1, 1};
  formats::WeightFormat format;
  const float *dense;
};

/// Rows that can be packed as `format`.
inline std::unique_ptr<formats::RowSource> rowsFor(const formats::WeightFormat &format,
                                                   const float *dense, int64_t n, int64_t k) {
  const bool isCodebook = format.kind == formats::WeightFormat::Codebook;
  if (format.kind == formats::WeightFormat::Integers ||
      (isCodebook && !formats::codebooks[size_t(format.codebook)].quantized))
    return std::make_unique<CodedRows>(format, dense, n, k);
  return formats::denseRows(dense, n, k);
}

} // namespace lorac::test
