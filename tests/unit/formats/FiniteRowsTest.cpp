// What is not finite is found in every format, at its place, however the threads cut.
#include "runtime/formats/FiniteRows.h"
#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/RowWeight.h"
#include "tests/unit/formats/Matrices.h"
#include "tests/unit/formats/Support.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace lorac::formats {
namespace {

constexpr int64_t height = 40, width = 64;

/// Rows as a file of this type stores them.
class TypedRows : public RowSource {
public:
  TypedRows(GgmlType type, const std::vector<float> &values) : type(type) {
    n = height;
    k = width;
    bytes.resize(size_t(n * rowBytes(type, k)));
    for (int64_t row = 0; row < n; ++row)
      encodeRow(type, values.data() + row * k, bytes.data() + row * rowBytes(type, k), k);
  }
  void readRow(int64_t row, float *out) const override { decodeRow(type, rawRow(row), out, k); }
  const GgmlTypeInfo *stored() const override { return ggmlTypeInfo(type); }
  void readCodes(int64_t row, uint8_t *codes, float *scales, float *minima) const override {
    decodeCodes(type, rawRow(row), k, codes, scales, minima);
  }
  const uint8_t *rawRow(int64_t row) const { return bytes.data() + row * rowBytes(type, k); }
  std::vector<uint8_t> bytes;

private:
  GgmlType type;
};

std::vector<float> goodValues() {
  std::vector<float> out(height * width);
  for (size_t i = 0; i < out.size(); ++i)
    out[i] = float(int(i * 37 % 101) - 50) / 64;
  return out;
}

/// What packing says; empty: all is well.
template <typename Size, typename Pack>
std::string wordsOf(const std::string &format, Size size, Pack pack) {
  const WeightFormat parsed = *parseWeightFormat(format);
  std::vector<std::vector<uint8_t>> parts;
  std::vector<void *> pointers;
  for (int i = 0; i < partCount(parsed); ++i)
    parts.emplace_back(size_t(size(parsed, i)));
  for (auto &part : parts)
    pointers.push_back(part.data());
  Result<void> packed = pack(parsed, std::span<void *const>(pointers));
  if (packed)
    return "";
  EXPECT_EQ(packed.error().code, Exit::ForeignFile);
  return packed.error().message;
}

/// In panels and by rows, which must agree.
std::string packed(const RowSource &source, const std::string &format) {
  const int64_t rows = format == "vector" ? source.cols() : source.rows(), cols = source.cols();
  const ParallelFor backwards = [](int64_t count, const auto &body) {
    for (int64_t i = count; i-- > 0;)
      body(i, i + 1);
  };
  const std::string panels = wordsOf(
      format, [&](const WeightFormat &f, int i) { return partBytes(f, i, rows, cols); },
      [&](const WeightFormat &f, std::span<void *const> parts) {
        return packWeight(source, f, parts, backwards);
      });
  const std::string byRows = wordsOf(
      format, [&](const WeightFormat &f, int i) { return rowPartBytes(f, i, rows, cols); },
      [&](const WeightFormat &f, std::span<void *const> parts) {
        return packRowWeight(source, f, ComputeType::BF16, parts, backwards);
      });
  EXPECT_EQ(panels, byRows) << format;
  return panels;
}

TEST(FiniteRows, everyFormatNamesTheFirst) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    std::vector<float> w = goodValues();
    w[3 * width + 5] = bad;
    w[30 * width] = NAN;
    const auto dense = denseRows(w.data(), height, width);
    const std::string want = std::string("it is ") +
                             (std::isnan(bad) ? "nan"
                              : bad > 0       ? "inf"
                                              : "-inf") +
                             " at [3, 5]";
    for (const std::string format : {"f32", "f16", "bf16", "nf4<64>", "nf4<64, dq256>", "fp4<32>"})
      EXPECT_NE(packed(*dense, format).find(want), std::string::npos)
          << format << ": " << packed(*dense, format);
    for (const GgmlType type : {GgmlType::F16, GgmlType::BF16})
      EXPECT_NE(packed(TypedRows(type, w), "f32").find(want), std::string::npos);
    const auto vector = denseRows(w.data(), 1, height * width);
    EXPECT_NE(packed(*vector, "vector").find("at [197]"), std::string::npos);
  }
}

TEST(FiniteRows, scalesOfBlocks) {
  for (const auto &[type, format] :
       std::vector<std::pair<GgmlType, std::string>>{{GgmlType::Q8_0, "int8<32, f16>"},
                                                     {GgmlType::Q4_0, "int4<32, f16>"},
                                                     {GgmlType::Q4_1, "int4<32, f16, min>"}}) {
    const TypedRows rows(type, goodValues());
    EXPECT_EQ(packed(rows, format), "");
    for (const uint16_t scale : {0x7c00, 0xfc00, 0x7e00}) {
      TypedRows bad = rows;
      memcpy(&bad.bytes[size_t(7 * rowBytes(type, width) + rowBytes(type, 32))], &scale, 2);
      EXPECT_NE(packed(bad, format).find("at [7, 3"), std::string::npos) << packed(bad, format);
    }
  }
  // The minimum of a block counts too.
  TypedRows bad(GgmlType::Q4_1, goodValues());
  const uint16_t nan = 0x7e00;
  memcpy(&bad.bytes[2], &nan, 2);
  EXPECT_NE(packed(bad, "int4<32, f16, min>").find("it is nan at [0, 0]"), std::string::npos);
}

TEST(FiniteRows, scalesOfScales) {
  struct Case {
    uint32_t type;
    size_t at; ///< of a half in the block
  };
  for (const auto &[type, at] :
       {Case{6, 0}, {7, 0}, {7, 2}, {12, 0}, {12, 2}, {13, 0}, {14, 208}}) {
    const GgmlTypeInfo &info = *ggmlTypeInfo(type);
    SCOPED_TRACE(info.name);
    std::vector<uint8_t> bytes(size_t(4 * 256 / info.blockValues * info.blockBytes), 1);
    bytes[bytes.size() / 2 + at] = 0;
    bytes[bytes.size() / 2 + at + 1] = 0x7c; // infinity, in row 2
    const BlockRows rows(GgmlType(type), bytes, 4, 256);
    std::vector<std::vector<uint8_t>> parts;
    std::vector<void *> to;
    for (int i = 0; i < partCount(*info.kept); ++i)
      to.push_back(parts.emplace_back(size_t(partBytes(*info.kept, i, 4, 256))).data());
    const Result<void> packed = packWeight(rows, *info.kept, to);
    ASSERT_FALSE(packed);
    EXPECT_NE(packed.error().message.find(" at [2, 0]"), std::string::npos)
        << packed.error().message;
  }
}

TEST(FiniteRows, tooLargeForSixteenBits) {
  std::vector<float> w = goodValues();
  w[70] = 1e6f;
  const auto dense = denseRows(w.data(), height, width);
  const std::string words = wordsOf(
      "f16", [&](const WeightFormat &f, int i) { return partBytes(f, i, height, width); },
      [&](const WeightFormat &f, std::span<void *const> parts) {
        return packWeight(*dense, f, parts);
      });
  EXPECT_NE(words.find("1000000 at [1, 6] is too large for the 16 bits"), std::string::npos)
      << words;
}

TEST(FiniteRows, whatIsFinitePasses) {
  std::vector<float> w = goodValues();
  w[0] = std::numeric_limits<float>::denorm_min();
  w[1] = -60000;
  const auto dense = denseRows(w.data(), height, width);
  for (const std::string format : {"f32", "f16", "bf16", "nf4<64>", "fp4<64, dq256>"})
    EXPECT_EQ(packed(*dense, format), "");
}

} // namespace
} // namespace lorac::formats
