// Weights by rows (docs/cuda.md): against the copy in panels, whose bytes have tests of their own,
// and against the places that the document states.
#include "runtime/formats/RowWeight.h"
#include "runtime/formats/Nf4.h"
#include "tests/unit/formats/Matrices.h"
#include "tests/unit/formats/Support.h"

#include <cmath>
#include <cstring>

namespace lorac::formats {
namespace {

using Parts = std::vector<std::vector<uint8_t>>;

std::vector<void *> pointers(Parts &parts) {
  std::vector<void *> out;
  for (auto &part : parts)
    out.push_back(part.data());
  return out;
}
std::vector<const void *> pointers(const Parts &parts) {
  std::vector<const void *> out;
  for (const auto &part : parts)
    out.push_back(part.data());
  return out;
}

Parts packRows(const RowSource &source, const WeightFormat &format, ComputeType compute, int64_t n,
               int64_t k, const ParallelFor &parallel = {}) {
  Parts parts;
  for (int i = 0; i < partCount(format); ++i)
    parts.emplace_back(size_t(rowPartBytes(format, i, n, k)), uint8_t(0xcd));
  take(packRowWeight(source, format, compute, pointers(parts), parallel));
  return parts;
}

std::vector<float> panelsRow(const Parts &parts, const WeightFormat &format, int64_t n, int64_t k,
                             int64_t row) {
  std::vector<float> out(static_cast<size_t>(k));
  unpackRow(format, n, k, pointers(parts), row, out.data());
  return out;
}

Parts packPanels(const RowSource &source, const WeightFormat &format, int64_t n, int64_t k) {
  Parts parts;
  for (int i = 0; i < partCount(format); ++i)
    parts.emplace_back(size_t(partBytes(format, i, n, k)), uint8_t(0xcd));
  take(packWeight(source, format, pointers(parts)));
  return parts;
}

template <typename T>
T at(const std::vector<uint8_t> &part, int64_t index) {
  T value;
  std::memcpy(&value, part.data() + index * int64_t(sizeof(T)), sizeof value);
  return value;
}

const std::pair<int64_t, int64_t> sizes[] = {{50, 96},  {96, 172}, {172, 176}, {7, 264},
                                             {128, 64}, {129, 50}, {3, 7},     {1, 1},
                                             {5, 33},   {260, 320}};

/// All floats are those of the panels, whatever the rows' layout and the cut among threads.
TEST(RowWeight, fourBitIsThePanelsInAnotherOrder) {
  for (const auto &[n, k] : sizes)
    for (const std::string text :
         {"nf4<32>", "nf4<64>", "nf4<128>", "nf4<4096>", "nf4<64, dq256>", "nf4<32, dq256>",
          "fp4<64>", "fp4<128, dq256>", "fp4<4096, dq256>"}) {
      SCOPED_TRACE(text + " " + std::to_string(n) + "x" + std::to_string(k));
      const WeightFormat format = *parseWeightFormat(text);
      const std::vector<float> w = randomMatrix(n, k);
      const auto source = denseRows(w.data(), n, k);
      const Parts rows = packRows(*source, format, ComputeType::BF16, n, k);
      ASSERT_EQ(rows, packRows(*source, format, ComputeType::BF16, n, k, twoThreads));
      const Parts panels = packPanels(*source, format, n, k);
      if (format.doubleQuant) {
        EXPECT_EQ(rows[2], panels[2]);
      }
      std::vector<float> row(static_cast<size_t>(k));
      for (int64_t r = 0; r < n; ++r) {
        unpackRowWeight(format, ComputeType::BF16, n, k, pointers(rows), r, row.data());
        ASSERT_EQ(row, panelsRow(panels, format, n, k, r)) << r;
      }
    }
}

/// Every byte from the document's words, the flat quantizer and nothing of the packer.
TEST(RowWeight, fourBitStandsAsTheDocumentSays) {
  for (const auto &[n, k] : sizes)
    for (const int64_t block : {32, 64, 128, 4096}) {
      SCOPED_TRACE(std::to_string(n) + "x" + std::to_string(k) + " of " + std::to_string(block));
      const WeightFormat format = WeightFormat::codes(FourBit::Nf4, block);
      const std::vector<float> w = randomMatrix(n, k);
      std::vector<uint8_t> codes(w.size());
      std::vector<float> absmax;
      for (int64_t begin = 0; begin < n * k; begin += block) {
        const int64_t count = std::min(block, n * k - begin);
        absmax.push_back(quantizeBlock(FourBit::Nf4, &w[size_t(begin)], count, count == block,
                                       &codes[size_t(begin)]));
      }
      const Parts parts =
          packRows(*denseRows(w.data(), n, k), format, ComputeType::F16, n, k, twoThreads);
      const int64_t np = (n + 127) / 128 * 128, kp = (k + 63) / 64 * 64;
      const int64_t perTile =
          block >= 64 ? (k % 64 ? 2 : 1) : (k % 32 ? 3 : 2); // docs/cuda.md, "S"
      ASSERT_EQ(int64_t(parts[0].size()), np * kp / 2);
      ASSERT_EQ(int64_t(parts[1].size()), kp / 64 * perTile * np * 4);
      for (int64_t row = 0; row < np; ++row) {
        for (int64_t col = 0; col < kp; ++col) {
          const uint8_t byte = parts[0][size_t(row * kp / 2 + col / 2)];
          const int expected = row < n && col < k ? codes[size_t(row * k + col)] : 0;
          ASSERT_EQ(col % 2 ? byte >> 4 : byte & 15, expected) << row << "," << col;
        }
        for (int64_t t = 0; t < kp / 64; ++t)
          for (int64_t s = 0; s < perTile; ++s) {
            const int64_t b =
                std::min<int64_t>((row * k + 64 * t) / block + s, int64_t(absmax.size()) - 1);
            ASSERT_EQ(at<float>(parts[1], (t * perTile + s) * np + row),
                      row < n ? absmax[size_t(b)] : 0.0f)
                << row << "," << t << "," << s;
          }
        // What a kernel relies on: the scale of each element is among those of its tile.
        for (int64_t col = 0; row < n && col < k; ++col) {
          const int64_t s = (row * k + col) / block - (row * k + col / 64 * 64) / block;
          ASSERT_LT(s, perTile);
          ASSERT_EQ(at<float>(parts[1], (col / 64 * perTile + s) * np + row),
                    absmax[size_t((row * k + col) / block)]);
        }
      }
    }
}

TEST(RowWeight, ggmlBlocksAreTheFiles) {
  const std::pair<const char *, GgmlType> formats[] = {{"int8<32, f16>", GgmlType::Q8_0},
                                                       {"int4<32, f16>", GgmlType::Q4_0},
                                                       {"int4<32, f16, min>", GgmlType::Q4_1}};
  for (const auto &[text, type] : formats)
    for (const auto &[n, k] :
         {std::pair<int64_t, int64_t>{64, 96}, {19, 32}, {1, 64}, {200, 352}}) {
      SCOPED_TRACE(std::string(text) + " " + std::to_string(n) + "x" + std::to_string(k));
      const WeightFormat format = *parseWeightFormat(text);
      const BlockRows source(type, randomMatrix(n, k), n, k);
      const Parts parts = packRows(source, format, ComputeType::BF16, n, k);
      ASSERT_EQ(parts, packRows(source, format, ComputeType::BF16, n, k, twoThreads));
      const int64_t np = rowsPadded(n), kp = colsPadded(k), blockBytes = rowBytes(type, 32);
      std::vector<float> row(static_cast<size_t>(k)), expected(static_cast<size_t>(k));
      for (int64_t r = 0; r < np; ++r) {
        for (int part = 1; part < partCount(format); ++part)
          for (int64_t b = 0; b < kp / 32; ++b) {
            uint16_t scale = 0;
            if (r < n && b < k / 32)
              std::memcpy(&scale, source.rawRow(r) + b * blockBytes + 2 * (part - 1), 2);
            ASSERT_EQ(at<uint16_t>(parts[size_t(part)], (b / 2 * 2 + b % 2) * np + r), scale);
          }
        const int64_t bytes = format.bits == 8 ? kp : kp / 2;
        for (int64_t i = r < n ? bytes * k / kp : 0; i < bytes; ++i)
          ASSERT_EQ(parts[0][size_t(r * bytes + i)], 0) << "padding of row " << r;
        if (r >= n)
          continue;
        unpackRowWeight(format, ComputeType::BF16, n, k, pointers(parts), r, row.data());
        source.readRow(r, expected.data());
        ASSERT_EQ(row, expected) << r;
      }
    }
}

TEST(RowWeight, floatsAreRoundedToTheComputeType) {
  for (const auto &[n, k] : sizes)
    for (const char *text : {"f32", "f16", "bf16"})
      for (const ComputeType compute : {ComputeType::BF16, ComputeType::F16}) {
        const WeightFormat format = *parseWeightFormat(text);
        std::vector<float> w = randomMatrix(n, k);
        w[0] = 1.00390625f; // halfway between two bf16: the even one
        const Parts parts = packRows(*denseRows(w.data(), n, k), format, compute, n, k, twoThreads);
        const int64_t np = rowsPadded(n), kp = colsPadded(k);
        ASSERT_EQ(int64_t(parts[0].size()), np * kp * 2);
        for (int64_t r = 0; r < np; ++r)
          for (int64_t c = 0; c < kp; ++c) {
            const uint16_t bits = at<uint16_t>(parts[0], r * kp + c);
            const float value = r < n && c < k ? w[size_t(r * k + c)] : 0.0f;
            if (value == 0) {
              ASSERT_EQ(bits, 0);
            } else if (compute == ComputeType::F16) {
              ASSERT_EQ(f16ToF32(bits), float(_Float16(value)));
            } else { // nearest: no bf16 is nearer than this one
              const float got = bf16ToF32(bits);
              const float below = bf16ToF32(uint16_t(bits - 1)),
                          above = bf16ToF32(uint16_t(bits + 1));
              ASSERT_LE(std::fabs(got - value), std::fabs(below - value));
              ASSERT_LE(std::fabs(got - value), std::fabs(above - value));
            }
          }
        if (compute == ComputeType::BF16) {
          EXPECT_EQ(at<uint16_t>(parts[0], 0), 0x3f80);
        }
      }
  const std::vector<float> norm = randomMatrix(1, 20);
  const Parts vector =
      packRows(*denseRows(norm.data(), 1, 20), {WeightFormat::Vector}, ComputeType::BF16, 20, 1);
  EXPECT_EQ(std::memcmp(vector[0].data(), norm.data(), 80), 0);
  EXPECT_EQ(vector[0].size(), 80u);
}

TEST(RowWeight, refusesWhatItCannotHold) {
  std::vector<float> w = randomMatrix(4, 64);
  std::vector<uint8_t> room(1 << 16);
  void *parts[] = {room.data(), room.data() + (1 << 14), room.data() + (1 << 15)};
  EXPECT_FALSE(packRowWeight(BlockRows(GgmlType::Q8_0, w, 4, 64),
                             WeightFormat::integers(4, 32, ElementType::F16), ComputeType::BF16,
                             parts));
  w[100] = INFINITY;
  Result<void> infinite = packRowWeight(
      *denseRows(w.data(), 4, 64), WeightFormat::codes(FourBit::Nf4, 64), ComputeType::BF16, parts);
  ASSERT_FALSE(infinite);
  EXPECT_EQ(infinite.error().code, Exit::ForeignFile);
}

TEST(RowWeight, namesOfParts) {
  const auto names = [](const char *text) {
    const WeightFormat format = *parseWeightFormat(text);
    std::string all;
    for (int i = 0; i < partCount(format); ++i)
      all += std::string(i ? " " : "") + std::string(rowPartName(format, i));
    return all;
  };
  EXPECT_EQ(names("f32"), "rows");
  EXPECT_EQ(names("bf16"), "rows");
  EXPECT_EQ(names("int8<32, f16>"), "codes d");
  EXPECT_EQ(names("int4<32, f16, min>"), "codes d m");
  EXPECT_EQ(names("nf4<64>"), "codes absmax");
  EXPECT_EQ(names("fp4<64, dq256>"), "codes absmax nested");
  EXPECT_EQ(names("vector"), "values");
  EXPECT_EQ(rowPartBytes(*parseWeightFormat("nf4<64, dq256>"), 2, 64, 96), (257 + 1) * 4);
  EXPECT_EQ(rowPartRoom(1), 256);
  EXPECT_EQ(parseComputeType("f16"), ComputeType::F16);
  EXPECT_FALSE(parseComputeType("f32"));
}

} // namespace
} // namespace lorac::formats
