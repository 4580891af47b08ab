#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/Checked.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/FourBitRows.h"
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
    if (Result<void> fits = checkPackable(source, format); !fits)
      return fits;
    if (format.kind == WeightFormat::Vector) {
      source.readRow(0, static_cast<float *>(parts[0]));
      finite.look(0, {static_cast<const float *>(parts[0]), size_t(k)});
      return finite.good() ? Result<void>() : finite.error();
    }
    if (format.isNf4OrFp4())
      absmax = format.doubleQuant
                   ? (blockScales.resize(size_t(absmaxCount(format, n, k))), blockScales.data())
                   : static_cast<float *>(parts[1]);
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
    switch (format.kind) {
    case WeightFormat::F32:
      return packFloats<float>(begin, end, [](float v) { return v; });
    case WeightFormat::F16:
      return packFloats<uint16_t>(begin, end, f32ToF16);
    case WeightFormat::BF16:
      return packFloats<uint16_t>(begin, end, f32ToBf16);
    case WeightFormat::Nf4:
    case WeightFormat::Fp4:
      return packFourBit(begin, end);
    default:
      return packBlocks(begin, end);
    }
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
                          format.kind == WeightFormat::F16 ? f16Exponent : bf16Exponent);
      }
      interleave(rows.data(), k, static_cast<T *>(parts[0]) + p * panelRows * k);
    }
  }

  /// The file's blocks: scales copied, codes re-laid.
  void packBlocks(int64_t begin, int64_t end) {
    const GgmlType type = ggmlTypeOf(format.kind);
    const int64_t blocks = k / ggmlBlock, blockBytes = rowBytes(type, ggmlBlock);
    std::vector<uint8_t> codes(static_cast<size_t>(panelRows * k));
    for (int64_t p = begin; p < end; ++p) {
      std::fill(codes.begin(), codes.end(), uint8_t(0));
      for (int64_t lane = 0; lane < panelRows && p * panelRows + lane < n; ++lane) {
        const int64_t row = p * panelRows + lane;
        const uint8_t *block = source.rawRow(row);
        decodeCodes(type, block, codes.data() + lane * k, k);
        bool allFinite = true;
        for (int64_t b = 0; b < blocks; ++b, block += blockBytes)
          for (int64_t part = 1; part < partCount(format); ++part) {
            uint16_t scale;
            memcpy(&scale, block + 2 * (part - 1), 2);
            allFinite &= (scale & f16Exponent) != f16Exponent;
            memcpy(static_cast<uint8_t *>(parts[size_t(part)]) + 2 * (row * blocks + b), &scale, 2);
          }
        if (!allFinite)
          finite.distrust(row);
      }
      auto panels = static_cast<uint8_t *>(parts[0]);
      if (format.kind == WeightFormat::Q8_0)
        interleave(codes.data(), k, panels + p * panelRows * k);
      else
        interleaveNibbles(codes.data(), k, panels + p * 8 * k);
    }
  }

  void packFourBit(int64_t begin, int64_t end) {
    FourBitRows rows(source, format, finite);
    for (int64_t p = begin; p < end; ++p) {
      const int64_t first = p * panelRows, last = std::min(n, first + panelRows);
      const uint8_t *codes = rows.quantize(first, last, (first + panelRows - last) * k, absmax);
      interleaveNibbles(codes, k, static_cast<uint8_t *>(parts[0]) + p * 8 * k);
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

template <typename T>
T loadAt(const void *base, int64_t index) {
  T v;
  memcpy(&v, static_cast<const uint8_t *>(base) + index * int64_t(sizeof(T)), sizeof v);
  return v;
}

} // namespace

GgmlType ggmlTypeOf(WeightFormat::Kind kind) {
  return kind == WeightFormat::Q8_0   ? GgmlType::Q8_0
         : kind == WeightFormat::Q4_0 ? GgmlType::Q4_0
                                      : GgmlType::Q4_1;
}

Result<void> checkPackable(const RowSource &source, const WeightFormat &format) {
  const int64_t n = source.rows(), k = source.cols();
  if (format.kind == WeightFormat::Vector) {
    if (n != 1)
      return Error{fmt::format("a matrix of {} rows cannot be packed as a vector", n), Exit::Bug};
    return {};
  }
  if (!formatFits(format, n, k))
    return Error{fmt::format("{} cannot hold {}: a row must be whole blocks of 32",
                             toString(format), shownShape(std::array{n, k})),
                 Exit::Refused};
  if (format.isGgmlBlocks() && source.rawType() != ggmlTypeOf(format.kind))
    return Error{fmt::format("{} keeps the file's own blocks, but the file stores {}; choose "
                             "format = \"none\" or \"nf4\"",
                             toString(format),
                             source.rawType() ? ggmlTypeInfo(uint32_t(*source.rawType()))->name
                                              : "other values"),
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
  const int64_t panel = row / panelRows, lane = row % panelRows, blocks = k / ggmlBlock;
  for (int64_t kk = 0; kk < k; ++kk) {
    const int64_t at = (panel * k + kk) * panelRows + lane;
    const auto byte = [&] { return loadAt<uint8_t>(parts[0], (panel * k + kk) * 8 + lane % 8); };
    const auto nibble = [&] { return lane < 8 ? byte() & 15 : byte() >> 4; };
    const auto scale = [&](size_t part) {
      return f16ToF32(loadAt<uint16_t>(parts[part], row * blocks + kk / ggmlBlock));
    };
    switch (format.kind) {
    case WeightFormat::F32:
      out[kk] = loadAt<float>(parts[0], at);
      break;
    case WeightFormat::F16:
      out[kk] = f16ToF32(loadAt<uint16_t>(parts[0], at));
      break;
    case WeightFormat::BF16:
      out[kk] = bf16ToF32(loadAt<uint16_t>(parts[0], at));
      break;
    case WeightFormat::Q8_0:
      out[kk] = float(loadAt<int8_t>(parts[0], at)) * scale(1);
      break;
    case WeightFormat::Q4_0:
      out[kk] = float(nibble() - 8) * scale(1);
      break;
    case WeightFormat::Q4_1:
      out[kk] = float(nibble()) * scale(1) + scale(2);
      break;
    default: {
      const int64_t block = (row * k + kk) / format.block;
      float absmax;
      if (format.doubleQuant) {
        const float nested = loadAt<float>(parts[2], nestedHead + block / nestedBlock);
        const float mapped = loadAt<float>(parts[2], loadAt<uint8_t>(parts[1], block)) * nested;
        absmax = mapped + loadAt<float>(parts[2], 256);
      } else {
        absmax = loadAt<float>(parts[1], block);
      }
      out[kk] =
          fourBitCodes(format.kind == WeightFormat::Nf4 ? FourBit::Nf4 : FourBit::Fp4)[nibble()] *
          absmax;
    }
    }
  }
}

} // namespace lorac::formats
