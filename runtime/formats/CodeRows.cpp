#include "runtime/formats/CodeRows.h"
#include "runtime/formats/Nf4.h"
#include "runtime/formats/PackedLayout.h"

#include <algorithm>
#include <cmath>

namespace lorac::formats {

bool isKept(const RowSource &source, const WeightFormat &format) {
  return source.stored() && source.stored()->kept == format;
}

const uint8_t *CodeRows::read(int64_t begin, int64_t end, int64_t spare, float *absmax) {
  return isKept(source, format) ? keep(begin, end, spare, absmax)
                                : quantize(begin, end, spare, absmax);
}

const uint8_t *CodeRows::keep(int64_t begin, int64_t end, int64_t spare, float *absmax) {
  const int64_t k = source.cols(), blocks = k / format.block, count = (end - begin) * blocks;
  codes.resize(size_t((end - begin) * k + spare));
  minimumRows.resize(size_t(format.minima ? count : 0));
  float *scale = absmax + begin * blocks, *minimum = minimumRows.data();
  if (format.kind == WeightFormat::Integers) {
    scaleRows.resize(size_t(count));
    scale = scaleRows.data();
  }
  const auto areFinite = [&](const float *numbers) {
    return std::all_of(numbers, numbers + blocks, [](float v) { return std::isfinite(v); });
  };
  for (int64_t row = begin; row < end; ++row, scale += blocks) {
    source.readCodes(row, codes.data() + (row - begin) * k, scale, minimum);
    bool good = areFinite(scale);
    if (format.minima) {
      good = good && areFinite(minimum);
      minimum += blocks;
    }
    if (!good)
      finite.distrust(row);
  }
  std::fill_n(codes.end() - spare, size_t(spare), uint8_t(0));
  return codes.data();
}

const uint8_t *CodeRows::quantize(int64_t begin, int64_t end, int64_t spare, float *absmax) {
  const int64_t k = source.cols(), block = format.block, total = source.rows() * k;
  const int64_t first = begin * k, last = end * k;
  const int64_t firstBlock = first / block, lastBlock = (last + block - 1) / block;
  const int64_t firstRow = firstBlock * block / k;
  const int64_t endRow = (std::min(total, lastBlock * block) + k - 1) / k;
  values.resize(size_t((endRow - firstRow) * k));
  codes.resize(values.size() + size_t(spare));
  for (int64_t row = firstRow; row < endRow; ++row) {
    float *out = values.data() + (row - firstRow) * k;
    source.readRow(row, out);
    finite.look(row, {out, size_t(k)});
  }
  const int64_t base = firstRow * k;
  for (int64_t b = firstBlock; b < lastBlock; ++b) {
    const int64_t at = b * block, count = std::min(block, total - at);
    const float scale = quantizeBlock(format.codebook, values.data() + (at - base), count,
                                      count == block, codes.data() + (at - base));
    if (at >= first)
      absmax[b] = scale;
  }
  std::fill_n(codes.begin() + (last - base), size_t(spare), uint8_t(0));
  return codes.data() + (first - base);
}

float decodedValue(const WeightFormat &format, std::span<const void *const> parts, uint8_t code,
                   int64_t at, int64_t block) {
  const float value = format.valueOf(code);
  if (format.doubleQuant) { // map[absmax] · nested absmax + offset, rounded twice
    const auto nested = [&](int64_t i) { return loadElement(ElementType::F32, parts[2], i); };
    const float mapped = nested(static_cast<const uint8_t *>(parts[1])[at]) *
                         nested(nestedHead + block / nestedBlock);
    return value * (mapped + nested(256));
  }
  const float scaled = value * loadElement(format.element, parts[1], at);
  return format.minima ? scaled + loadElement(format.element, parts[2], at) : scaled;
}

} // namespace lorac::formats
