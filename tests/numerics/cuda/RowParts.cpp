#include "tests/numerics/cuda/RowParts.h"
#include "runtime/formats/PackedLayout.h"
#include "runtime/formats/PackedWeight.h"
#include "tests/numerics/program/CodedRows.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace lorac;
using formats::WeightFormat;

static uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static float fromBf16(uint16_t half) {
  uint32_t bits = uint32_t(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

test::RowParts test::packRows(const WeightFormat &format, int64_t n, int64_t k,
                              const std::vector<float> &dense) {
  RowParts rows;
  rows.values = dense;
  auto part = [&](int64_t bytes) -> std::vector<char> & { return rows.parts.emplace_back(bytes); };
  if (format.kind == WeightFormat::Vector) {
    std::memcpy(part(4 * n).data(), dense.data(), 4 * n);
    return rows;
  }
  int64_t np = (n + 127) / 128 * 128, kp = (k + 63) / 64 * 64, tiles = kp / 64;
  if (format.block == 0) {
    auto &bytes = part(2 * np * kp);
    auto *to = reinterpret_cast<uint16_t *>(bytes.data());
    for (int64_t row = 0; row < n; ++row)
      for (int64_t col = 0; col < k; ++col) {
        to[row * kp + col] = toBf16(dense[row * k + col]);
        rows.values[row * k + col] = fromBf16(to[row * kp + col]);
      }
    return rows;
  }

  // The CPU's panels know the codes and scales.
  std::vector<std::vector<char>> panels;
  std::vector<void *> to;
  std::vector<const void *> from;
  for (int i = 0; i < formats::partCount(format); ++i)
    panels.emplace_back(formats::partBytes(format, i, n, k) + 64);
  for (auto &bytes : panels)
    to.push_back(bytes.data()), from.push_back(bytes.data());
  auto packed = formats::packWeight(*rowsFor(format, dense.data(), n, k), format, to);
  EXPECT_TRUE(bool(packed));
  for (int64_t row = 0; row < n; ++row)
    formats::unpackRow(format, n, k, from, row, rows.values.data() + row * k);

  bool bytes = format.bits == 8;
  auto &codes = part(bytes ? np * kp : np * kp / 2);
  for (int64_t row = 0; row < n; ++row)
    for (int64_t col = 0; col < k; ++col) {
      int64_t panel = row / 16 * k + col, lane = row % 16;
      if (bytes) {
        codes[row * kp + col] = panels[0][panel * 16 + lane];
        continue;
      }
      int code = uint8_t(panels[0][panel * 8 + lane % 8]) >> (lane < 8 ? 0 : 4) & 15;
      codes[(row * kp + col) / 2] |= char(code << (col % 2 ? 4 : 0));
    }
  bool inRows = format.kind == WeightFormat::Integers;
  int64_t size = inRows               ? (format.element == formats::ElementType::F16 ? 2 : 4)
                 : format.doubleQuant ? 1
                                      : 4;
  int64_t blocks = (n * k + format.block - 1) / format.block;
  int64_t perTile = inRows               ? 64 / format.block
                    : format.block >= 64 ? (k % 64 ? 2 : 1)
                                         : (k % 32 ? 3 : 2);
  for (int i = 1; i < formats::partCount(format); ++i) {
    if (format.doubleQuant && i == 2) {
      int64_t all = formats::partBytes(format, 2, n, k);
      part(all).assign(panels[2].begin(), panels[2].begin() + all);
      continue;
    }
    auto &scales = part(tiles * perTile * np * size);
    for (int64_t tile = 0; tile < tiles; ++tile)
      for (int64_t s = 0; s < perTile; ++s)
        for (int64_t row = 0; row < n; ++row) {
          if (inRows && perTile * tile + s >= k / format.block)
            continue;
          int64_t block = std::min((row * k + 64 * tile) / format.block + s, blocks - 1);
          std::memcpy(&scales[((tile * perTile + s) * np + row) * size], &panels[i][block * size],
                      size);
        }
  }
  return rows;
}
