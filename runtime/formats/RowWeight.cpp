#include "runtime/formats/RowWeight.h"
#include "runtime/formats/CodeRows.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/Nf4.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace lorac::formats {
namespace {

/// Rows that one thread packs before it lets the source go: bounds the file's resident pages.
constexpr int64_t rowsAtOnce = 32;

class RowPacker {
public:
  RowPacker(const RowSource &source, const WeightFormat &format, ComputeType compute,
            std::span<void *const> parts)
      : source(source), format(format), parts(parts), n(source.rows()), k(source.cols()),
        np(rowsPadded(n)), kp(colsPadded(k)),
        round(compute == ComputeType::BF16 ? f32ToBf16 : f32ToF16),
        exponent(compute == ComputeType::BF16 ? bf16Exponent : f16Exponent), finite(source) {}

  Result<void> run(const ParallelFor &parallel) {
    LORAC_TRY(checkPackable(source, format));
    if (format.kind == WeightFormat::Vector) {
      source.readRow(0, static_cast<float *>(parts[0]));
      finite.look(0, {static_cast<const float *>(parts[0]), size_t(k)});
      return finite.good() ? Result<void>() : finite.error();
    }
    if (format.kind == WeightFormat::Codebook)
      absmax.resize(size_t(scaleCount(format, n, k)));
    split(parallel, (np + rowsAtOnce - 1) / rowsAtOnce, [&](int64_t begin, int64_t end) {
      CodeRows rows(source, format, finite);
      for (int64_t at = begin; at < end; ++at) {
        const int64_t first = at * rowsAtOnce, last = std::min(np, first + rowsAtOnce);
        const int64_t there = std::clamp(n, first, last);
        if (format.kind == WeightFormat::Floats)
          packFloats(first, there);
        else if (there > first)
          packCodes(rows, first, there);
        zeroRows(there, last);
        if (there > first)
          source.done(first, there);
      }
    });
    if (!finite.good())
      return finite.error();
    if (format.kind == WeightFormat::Codebook)
      placeScales(parallel);
    return {};
  }

private:
  template <typename Body>
  static void split(const ParallelFor &parallel, int64_t count, const Body &body) {
    if (parallel)
      parallel(count, body);
    else
      body(0, count);
  }

  uint8_t *codesOf(int64_t row) const {
    return static_cast<uint8_t *>(parts[0]) + row * rowBytesOfCodes();
  }
  int64_t rowBytesOfCodes() const {
    return kp * (format.kind == WeightFormat::Floats ? 16 : format.bits) / 8;
  }
  /// Where scale `s` of tile `t` of a row stands in its part.
  int64_t scaleAt(int64_t t, int64_t s, int64_t row) const {
    return (t * scalesPerTile(format, k) + s) * np + row;
  }

  void zeroRows(int64_t begin, int64_t end) {
    memset(codesOf(begin), 0, size_t((end - begin) * rowBytesOfCodes()));
    if (format.kind != WeightFormat::Integers)
      return;
    const int64_t bytes = traits(format.element).bytes;
    for (int part = 1; part < partCount(format); ++part)
      for (int64_t at = 0; at < tilesOf(k) * scalesPerTile(format, k); ++at)
        memset(static_cast<uint8_t *>(parts[size_t(part)]) + (at * np + begin) * bytes, 0,
               size_t((end - begin) * bytes));
  }

  void packFloats(int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(k));
    for (int64_t r = begin; r < end; ++r) {
      source.readRow(r, row.data());
      finite.look(r, row);
      auto out = reinterpret_cast<uint16_t *>(codesOf(r));
      std::transform(row.begin(), row.end(), out, round);
      finite.lookKept(r, {out, size_t(k)}, exponent);
      std::fill(out + k, out + kp, uint16_t(0));
    }
  }

  /// Codes of one row, one a byte, as pairs of neighbours.
  void putNibbles(const uint8_t *codes, int64_t row) {
    uint8_t *out = codesOf(row);
    memset(out + k / 2, 0, size_t((kp - k) / 2 + k % 2));
    for (int64_t i = 0; i + 1 < k; i += 2)
      out[i / 2] = uint8_t(codes[i] | codes[i + 1] << 4);
    if (k % 2)
      out[k / 2] = codes[k - 1];
  }

  void packCodes(CodeRows &rows, int64_t begin, int64_t end) {
    const uint8_t *codes = rows.read(begin, end, 0, absmax.data());
    for (int64_t r = begin; r < end; ++r, codes += k)
      if (format.bits == 8) {
        memcpy(codesOf(r), codes, size_t(k));
        memset(codesOf(r) + k, 0, size_t(kp - k));
      } else {
        putNibbles(codes, r);
      }
    if (format.kind == WeightFormat::Integers)
      for (int part = 1; part < partCount(format); ++part)
        putScales(part == 1 ? rows.scales() : rows.minima(), part, begin, end);
  }

  /// Of blocks along a row: zero where a tile is wider than the row.
  void putScales(std::span<const float> scales, int part, int64_t begin, int64_t end) {
    const int64_t blocks = k / format.block, all = tilesOf(k) * scalesPerTile(format, k);
    for (int64_t r = begin; r < end; ++r)
      for (int64_t b = 0; b < all; ++b)
        storeElement(format.element, b < blocks ? scales[size_t((r - begin) * blocks + b)] : 0.0f,
                     parts[size_t(part)], b * np + r);
  }

  /// Each row's tile gets the scales of the blocks it touches, double-quantized or not.
  void placeScales(const ParallelFor &parallel) {
    if (!format.doubleQuant)
      return scatter(parallel, absmax.data(), static_cast<float *>(parts[1]));
    std::vector<uint8_t> bytes(absmax.size());
    auto nested = static_cast<float *>(parts[2]);
    std::copy_n(dynamicMap(Dynamic8::Signed), 256, nested);
    nested[256] = nestedOffset(absmax);
    quantizeNested(absmax, nested[256], bytes.data(), nested + nestedHead);
    scatter(parallel, bytes.data(), static_cast<uint8_t *>(parts[1]));
  }

  template <typename T>
  void scatter(const ParallelFor &parallel, const T *ofBlocks, T *out) {
    const int64_t perTile = scalesPerTile(format, k);
    split(parallel, tilesOf(k), [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t)
        for (int64_t s = 0; s < perTile; ++s) {
          T *at = out + scaleAt(t, s, 0);
          for (int64_t row = 0; row < n; ++row)
            at[row] = ofBlocks[blockOfScale(format, n, k, row, t, s)];
          std::fill(at + n, at + np, T(0));
        }
    });
  }

  const RowSource &source;
  const WeightFormat &format;
  std::span<void *const> parts;
  const int64_t n, k, np, kp;
  uint16_t (*const round)(float);
  const uint16_t exponent;   ///< of the type that `round` gives
  std::vector<float> absmax; ///< by block of the flat matrix
  FiniteRows finite;
};

} // namespace

Result<void> packRowWeight(const RowSource &source, const WeightFormat &format, ComputeType compute,
                           std::span<void *const> parts, const ParallelFor &parallel) {
  return RowPacker(source, format, compute, parts).run(parallel);
}

void unpackRowWeight(const WeightFormat &format, ComputeType compute, int64_t n, int64_t k,
                     std::span<const void *const> parts, int64_t row, float *out) {
  if (format.kind == WeightFormat::Vector) {
    memcpy(out, parts[0], size_t(n) * 4);
    return;
  }
  const int64_t np = rowsPadded(n), kp = colsPadded(k), perTile = scalesPerTile(format, k);
  const ElementType element = compute == ComputeType::BF16 ? ElementType::BF16 : ElementType::F16;
  const auto codes = static_cast<const uint8_t *>(parts[0]);
  for (int64_t kk = 0; kk < k; ++kk) {
    if (format.kind == WeightFormat::Floats) {
      out[kk] = loadElement(element, parts[0], row * kp + kk);
      continue;
    }
    const uint8_t byte = codes[(row * kp + kk) * format.bits / 8];
    const int64_t block = (row * k + kk) / format.block, tile = kk / tileCols;
    const int64_t s = block - (row * k + tile * tileCols) / format.block;
    out[kk] = decodedValue(format, parts,
                           format.bits == 8 ? byte
                           : kk % 2         ? byte >> 4
                                            : byte & 15,
                           (tile * perTile + s) * np + row, block);
  }
}

} // namespace lorac::formats
