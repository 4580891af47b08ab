#include "runtime/formats/FourBitRows.h"
#include "runtime/formats/Nf4.h"

#include <algorithm>

namespace lorac::formats {

const uint8_t *FourBitRows::quantize(int64_t begin, int64_t end, int64_t spare, float *absmax) {
  const FourBit type = format.kind == WeightFormat::Nf4 ? FourBit::Nf4 : FourBit::Fp4;
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
    const float scale = quantizeBlock(type, values.data() + (at - base), count, count == block,
                                      codes.data() + (at - base));
    if (at >= first)
      absmax[b] = scale;
  }
  std::fill_n(codes.begin() + (last - base), size_t(spare), uint8_t(0));
  return codes.data() + (first - base);
}

} // namespace lorac::formats
