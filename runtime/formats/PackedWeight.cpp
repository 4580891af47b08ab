#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/CodeRows.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/Nf4.h"

#include <fmt/format.h>

#include <cstring>
#include <vector>

namespace lorac::formats {
namespace {

/// Panels that one thread packs before it lets the source go: bounds the file's resident pages.
constexpr int64_t panelsAtOnce = 16;

/// Codes of 16 rows, one a byte and row-major, as two a byte in panel order.
void interleaveNibbles(const uint8_t *rows, int64_t k, uint8_t *panel) {
  for (int64_t kk = 0; kk < k; ++kk)
    for (int64_t lane = 0; lane < 8; ++lane)
      panel[kk * 8 + lane] = uint8_t(rows[lane * k + kk] | rows[(lane + 8) * k + kk] << 4);
}

template <typename T>
void interleave(const T *rows, int64_t k, T *panel) {
  for (int64_t kk = 0; kk < k; ++kk)
    for (int64_t lane = 0; lane < panelRows; ++lane)
      panel[kk * panelRows + lane] = rows[lane * k + kk];
}

class Packer {
public:
  Packer(const RowSource &source, const WeightFormat &format, std::span<void *const> parts)
      : source(source), format(format), parts(parts), n(source.rows()), k(source.cols()),
        finite(source) {}

  Result<void> run(const ParallelFor &parallel) {
    LORAC_TRY(checkPackable(source, format));
    if (format.kind == WeightFormat::Vector) {
      source.readRow(0, static_cast<float *>(parts[0]));
      finite.look(0, {static_cast<const float *>(parts[0]), size_t(k)});
      return finite.good() ? Result<void>() : finite.error();
    }
    if (format.doubleQuant)
      blockScales.resize(size_t(scaleCount(format, n, k)));
    if (format.kind == WeightFormat::Codebook)
      absmax = format.doubleQuant ? blockScales.data() : static_cast<float *>(parts[1]);
    const auto body = [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += panelsAtOnce) {
        const int64_t last = std::min(end, at + panelsAtOnce);
        packPanels(at, last);
        source.done(at * panelRows, std::min(n, last * panelRows));
      }
    };
    if (parallel)
      parallel(panelCount(n), body);
    else
      body(0, panelCount(n));
    if (!finite.good())
      return finite.error();
    if (format.doubleQuant)
      packNested();
    return {};
  }

private:
  void packPanels(int64_t begin, int64_t end) {
    if (format.kind != WeightFormat::Floats)
      return packCodes(begin, end);
    if (format.element == ElementType::F32)
      return packFloats<float>(begin, end, [](float v) { return v; });
    packFloats<uint16_t>(begin, end, format.element == ElementType::F16 ? f32ToF16 : f32ToBf16);
  }

  template <typename T, typename Convert>
  void packFloats(int64_t begin, int64_t end, Convert convert) {
    std::vector<float> row(static_cast<size_t>(k));
    std::vector<T> rows(static_cast<size_t>(panelRows * k));
    for (int64_t p = begin; p < end; ++p) {
      std::fill(rows.begin(), rows.end(), T(0));
      for (int64_t lane = 0; lane < panelRows && p * panelRows + lane < n; ++lane) {
        source.readRow(p * panelRows + lane, row.data());
        finite.look(p * panelRows + lane, row);
        for (int64_t i = 0; i < k; ++i)
          rows[size_t(lane * k + i)] = convert(row[size_t(i)]);
        if constexpr (sizeof(T) == 2)
          finite.lookKept(p * panelRows + lane, {rows.data() + lane * k, size_t(k)},
                          format.element == ElementType::F16 ? f16Exponent : bf16Exponent);
      }
      interleave(rows.data(), k, static_cast<T *>(parts[0]) + p * panelRows * k);
    }
  }

  void packCodes(int64_t begin, int64_t end) {
    CodeRows rows(source, format, finite);
    auto panels = static_cast<uint8_t *>(parts[0]);
    const int64_t blocks = k / format.block;
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * panelRows, last = std::min(n, first + panelRows);
      const uint8_t *codes = rows.read(first, last, (first + panelRows - last) * k, absmax);
      if (format.bits == 8)
        interleave(codes, k, panels + p * panelRows * k);
      else
        interleaveNibbles(codes, k, panels + p * 8 * k);
      if (format.kind == WeightFormat::Codebook)
        continue;
      for (int64_t i = 0; i < (last - first) * blocks; ++i) {
        storeElement(format.element, rows.scales()[size_t(i)], parts[1], first * blocks + i);
        if (format.minima)
          storeElement(format.element, rows.minima()[size_t(i)], parts[2], first * blocks + i);
      }
    }
  }

  void packNested() {
    auto nested = static_cast<float *>(parts[2]);
    std::copy_n(dynamicMap(Dynamic8::Signed), 256, nested);
    nested[256] = nestedOffset(blockScales);
    quantizeNested(blockScales, nested[256], static_cast<uint8_t *>(parts[1]), nested + nestedHead);
  }

  const RowSource &source;
  const WeightFormat &format;
  std::span<void *const> parts;
  int64_t n, k;
  float *absmax = nullptr;
  std::vector<float> blockScales;
  FiniteRows finite;
};

} // namespace

Result<void> checkPackable(const RowSource &source, const WeightFormat &format) {
  const int64_t n = source.rows(), k = source.cols();
  if (format.kind == WeightFormat::Vector) {
    if (n != 1)
      return Error{fmt::format("a matrix of {} rows cannot be packed as a vector", n), Exit::Bug};
    return {};
  }
  if (!formatFits(format, n, k))
    return Error{fmt::format("{} cannot hold {}: a row must be whole blocks of {}",
                             toString(format), shownShape(std::array{n, k}), format.block),
                 Exit::Refused};
  const bool quantized =
      format.kind == WeightFormat::Codebook && codebooks[size_t(format.codebook)].quantized;
  if (format.block != 0 && !quantized && !isKept(source, format))
    return Error{fmt::format("{} keeps the file's own blocks, but the file stores {}; choose "
                             "format = \"none\" or \"nf4\"",
                             toString(format),
                             source.stored() ? source.stored()->name : "other values"),
                 Exit::Refused};
  return {};
}

Result<void> packWeight(const RowSource &source, const WeightFormat &format,
                        std::span<void *const> parts, const ParallelFor &parallel) {
  return Packer(source, format, parts).run(parallel);
}

void unpackRow(const WeightFormat &format, int64_t n, int64_t k, std::span<const void *const> parts,
               int64_t row, float *out) {
  if (format.kind == WeightFormat::Vector) {
    memcpy(out, parts[0], size_t(n) * 4);
    return;
  }
  const int64_t panel = row / panelRows, lane = row % panelRows;
  const auto codes = static_cast<const uint8_t *>(parts[0]);
  for (int64_t kk = 0; kk < k; ++kk) {
    const int64_t at = (panel * k + kk) * panelRows + lane;
    if (format.kind == WeightFormat::Floats) {
      out[kk] = loadElement(format.element, parts[0], at);
      continue;
    }
    const uint8_t byte = codes[format.bits == 8 ? at : (panel * k + kk) * 8 + lane % 8];
    const int64_t block = (row * k + kk) / format.block;
    out[kk] = decodedValue(format, parts,
                           format.bits == 8 ? byte
                           : lane < 8       ? byte & 15
                                            : byte >> 4,
                           block, block);
  }
}

} // namespace lorac::formats
