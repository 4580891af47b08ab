// Packing and unpacking: every format against values computed without panels.
#include "runtime/formats/PackedWeight.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/Nf4.h"
#include "tests/unit/formats/Matrices.h"
#include "tests/unit/formats/Support.h"

#include <cmath>

namespace lorac::formats {
namespace {

struct Packed {
  WeightFormat format;
  int64_t n, k;
  std::vector<std::vector<uint8_t>> parts;

  std::vector<float> row(int64_t r) const {
    std::vector<const void *> pointers;
    for (const auto &part : parts)
      pointers.push_back(part.data());
    std::vector<float> out(static_cast<size_t>(format.kind == WeightFormat::Vector ? n : k));
    unpackRow(format, n, k, pointers, r, out.data());
    return out;
  }
};

Packed pack(const RowSource &source, const std::string &formatText, int64_t n, int64_t k,
            const ParallelFor &parallel = {}) {
  Packed packed{*parseWeightFormat(formatText), n, k, {}};
  std::vector<void *> pointers;
  for (int i = 0; i < partCount(packed.format); ++i)
    packed.parts.emplace_back(size_t(partBytes(packed.format, i, n, k)), uint8_t(0xcd));
  for (auto &part : packed.parts)
    pointers.push_back(part.data());
  take(packWeight(source, packed.format, pointers, parallel));
  return packed;
}

/// Rows of the flat quantizer, without panels.
std::vector<float> flatFourBit(const WeightFormat &format, const std::vector<float> &w) {
  const FourBit type = format.codebook;
  std::vector<uint8_t> codes(w.size());
  std::vector<float> absmax;
  for (size_t at = 0; at < w.size(); at += size_t(format.block)) {
    const auto count = std::min<int64_t>(format.block, int64_t(w.size() - at));
    absmax.push_back(quantizeBlock(type, &w[at], count, count == format.block, &codes[at]));
  }
  std::vector<float> scales = absmax;
  if (format.doubleQuant) {
    const float offset = nestedOffset(absmax);
    std::vector<uint8_t> bytes(absmax.size());
    std::vector<float> nested((absmax.size() + 255) / 256);
    quantizeNested(absmax, offset, bytes.data(), nested.data());
    for (size_t i = 0; i < scales.size(); ++i)
      scales[i] = dynamicMap(Dynamic8::Signed)[bytes[i]] * nested[i / 256] + offset;
  }
  std::vector<float> out(w.size());
  for (size_t i = 0; i < w.size(); ++i)
    out[i] = codebooks[size_t(type)].values[codes[i]] * scales[i / size_t(format.block)];
  return out;
}

/// A type whose codes are those of NF4, with scales that no quantizer would give.
class CodebookRows : public RowSource {
public:
  CodebookRows(int64_t rowCount, int64_t colCount) {
    n = rowCount, k = colCount;
    type.kept = parseWeightFormat("nf4<32>");
  }
  static uint8_t code(int64_t row, int64_t i) { return uint8_t((row * 5 + i * 3) % 16); }
  static float scale(int64_t row, int64_t block) { return 0.5f + float(row) - float(block); }
  void readRow(int64_t, float *) const override { ADD_FAILURE() << "read as numbers"; }
  const GgmlTypeInfo *stored() const override { return &type; }
  void readCodes(int64_t row, uint8_t *codes, float *scales, float *) const override {
    for (int64_t i = 0; i < k; ++i)
      codes[i] = code(row, i), scales[i / 32] = scale(row, i / 32);
  }

private:
  GgmlTypeInfo type{"NF4", 32, 20};
};

TEST(PackedWeight, codesOfACodebookAreKept) {
  const int64_t n = 37, k = 96;
  const Packed packed = pack(CodebookRows(n, k), "nf4<32>", n, k, twoThreads);
  for (int64_t r = 0; r < n; ++r) {
    const std::vector<float> row = packed.row(r);
    for (int64_t i = 0; i < k; ++i)
      EXPECT_EQ(row[size_t(i)],
                nf4Codes[CodebookRows::code(r, i)] * CodebookRows::scale(r, i / 32));
  }
}

TEST(PackedWeight, fourBitBlocksStraddleRowsAndPanels) {
  for (const auto &[n, k] : {std::pair<int64_t, int64_t>{64, 176},
                             {176, 64},
                             {37, 172},
                             {5, 50},
                             {7, 33},
                             {100, 31},
                             {3, 7}})
    for (const std::string text : {"nf4<64>", "nf4<64, dq256>", "fp4<64>", "fp4<32, dq256>",
                                   "nf4<4096, dq256>", "nf4<128>"}) {
      SCOPED_TRACE(text + " " + std::to_string(n) + "x" + std::to_string(k));
      const std::vector<float> w = randomMatrix(n, k);
      const auto rows = denseRows(w.data(), n, k);
      const Packed packed = pack(*rows, text, n, k), again = pack(*rows, text, n, k, twoThreads);
      EXPECT_EQ(packed.parts, again.parts) << "the cut shows";
      const std::vector<float> expected = flatFourBit(packed.format, w);
      for (int64_t r = 0; r < n; ++r)
        ASSERT_EQ(packed.row(r),
                  std::vector<float>(expected.begin() + r * k, expected.begin() + (r + 1) * k))
            << r;
    }
}

TEST(PackedWeight, fourBitCodesStandAsTheDesignSays) {
  const int64_t n = 20, k = 6;
  const std::vector<float> w = randomMatrix(n, k);
  const Packed packed = pack(*denseRows(w.data(), n, k), "nf4<64>", n, k);
  std::vector<uint8_t> codes(w.size());
  quantizeBlock(FourBit::Nf4, &w[0], 64, true, &codes[0]);
  quantizeBlock(FourBit::Nf4, &w[64], 56, false, &codes[64]);
  for (int64_t row = 0; row < 32; ++row)
    for (int64_t kk = 0; kk < k; ++kk) {
      const int64_t lane = row % 16;
      const uint8_t byte = packed.parts[0][size_t((row / 16 * k + kk) * 8 + lane % 8)];
      const int expected = row < n ? codes[size_t(row * k + kk)] : 0; // missing rows are zero codes
      EXPECT_EQ(lane < 8 ? byte & 15 : byte >> 4, expected) << row << " " << kk;
    }
}

TEST(PackedWeight, qloraBaseAsBitsandbytesDecodesIt) {
  for (const std::string kind : {"tied", "untied"}) {
    const Safetensors model =
        take(Safetensors::open(golden + "/tiny/" + kind + "/model.safetensors"));
    const Safetensors decoded =
        take(Safetensors::open(golden + "/qlora/" + kind + "/dequantized.safetensors"));
    size_t compared = 0;
    for (const TensorInfo &tensor : decoded.tensors()) {
      if (tensor.shape.size() != 2)
        continue;
      const std::string name = tensor.name.substr(strlen("dequant.")) + ".weight";
      const int64_t n = tensor.shape[0], k = tensor.shape[1];
      const std::vector<float> w = take(model.floats(name)),
                               expected = take(decoded.floats(tensor.name));
      const Packed packed = pack(*denseRows(w.data(), n, k), "nf4<64, dq256>", n, k);
      for (int64_t r = 0; r < n; ++r) {
        const std::vector<float> row = packed.row(r);
        for (int64_t i = 0; i < k; ++i) // the offset may differ by an ulp from torch's
          ASSERT_NEAR(row[size_t(i)], expected[size_t(r * k + i)], 1e-7) << tensor.name;
      }
      ++compared;
    }
    EXPECT_EQ(compared, 14u);
  }
}

TEST(PackedWeight, blocksAreKept) {
  const std::pair<const char *, GgmlType> formats[] = {{"int8<32, f16>", GgmlType::Q8_0},
                                                       {"int4<32, f16>", GgmlType::Q4_0},
                                                       {"int4<32, f16, min>", GgmlType::Q4_1}};
  for (const auto &[text, type] : formats)
    for (const auto &[n, k] : {std::pair<int64_t, int64_t>{64, 96}, {19, 32}, {1, 64}}) {
      const BlockRows source(type, randomMatrix(n, k), n, k);
      const Packed packed = pack(source, text, n, k), again = pack(source, text, n, k, twoThreads);
      EXPECT_EQ(packed.parts, again.parts);
      std::vector<float> expected(static_cast<size_t>(k));
      for (int64_t r = 0; r < n; ++r) {
        source.readRow(r, expected.data());
        ASSERT_EQ(packed.row(r), expected) << text << " " << r;
      }
      // Scales are the file's own bytes.
      EXPECT_EQ(memcmp(packed.parts[1].data(), source.rawRow(0), 2), 0);
    }
}

TEST(PackedWeight, floatsInPanels) {
  const int64_t n = 37, k = 20;
  const std::vector<float> w = randomMatrix(n, k);
  const auto rows = denseRows(w.data(), n, k);
  const Packed f32 = pack(*rows, "f32", n, k), f16 = pack(*rows, "f16", n, k),
               bf16 = pack(*rows, "bf16", n, k);
  for (int64_t r = 0; r < n; ++r)
    for (int64_t i = 0; i < k; ++i) {
      const float value = w[size_t(r * k + i)];
      EXPECT_EQ(f32.row(r)[size_t(i)], value);
      EXPECT_EQ(f16.row(r)[size_t(i)], float(_Float16(value)));
      EXPECT_EQ(bf16.row(r)[size_t(i)], bf16ToF32(f32ToBf16(value)));
    }
  // (p, kk, lane), and zeros below the last row.
  auto panels = reinterpret_cast<const float *>(f32.parts[0].data());
  EXPECT_EQ(panels[(1 * k + 3) * 16 + 5], w[21 * k + 3]);
  EXPECT_EQ(panels[(2 * k + 3) * 16 + 5], 0.0f);
  const std::vector<float> norm = randomMatrix(1, 20);
  const Packed vector = pack(*denseRows(norm.data(), 1, 20), "vector", 20, 1);
  EXPECT_EQ(vector.row(0), norm);
}

TEST(PackedWeight, refusesWhatItCannotHold) {
  const std::vector<float> w = randomMatrix(4, 64);
  std::vector<uint8_t> room(4096);
  void *parts[] = {room.data(), room.data() + 2048, room.data() + 3072};
  Result<void> other = packWeight(BlockRows(GgmlType::Q8_0, w, 4, 64),
                                  WeightFormat::integers(4, 32, ElementType::F16), parts);
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("the file stores Q8_0"), std::string::npos)
      << other.error().message;
  std::vector<float> bad = w;
  bad[100] = INFINITY;
  Result<void> infinite =
      packWeight(*denseRows(bad.data(), 4, 64), WeightFormat::codes(FourBit::Nf4, 64), parts);
  ASSERT_FALSE(infinite);
  EXPECT_EQ(infinite.error().code, Exit::ForeignFile);
}

TEST(PackedWeight, formatStrings) {
  for (const char *text : {"f32", "f16", "bf16", "int8<32, f16>", "int4<32, f16>",
                           "int4<32, f16, min>", "int8<16, f32>", "int8<64, f32, min>", "vector",
                           "nf4<64>", "nf4<64, dq256>", "fp4<4096>", "iq4nl<32>"})
    EXPECT_EQ(toString(*parseWeightFormat(text)), text);
  EXPECT_EQ(parseWeightFormat("nf4<64,dq256>"), parseWeightFormat("nf4<64, dq256>"));
  for (const char *text :
       {"", "nf4", "nf4<>", "nf4<63>", "nf4<64", "nf4<64, dq128>", "nf4<99999999999999999999>",
        "q4_K", "fp4<16>", "int4<32>", "int8<8, f32>", "int8<128, f32>", "int8<32, bf16>",
        "int6<32, f32>", "int8<32, min>", "int8<032, f32>", "<", "<32>", ">"})
    EXPECT_FALSE(parseWeightFormat(text)) << text;
}

TEST(SeededRows, dependOnSeedNameAndElementAlone) {
  const auto read = [](uint64_t seed, const std::string &name) {
    const auto rows = seededRows(seed, name, {200, 50});
    std::vector<float> all(200 * 50);
    for (int64_t r = 199; r >= 0; --r)
      rows->readRow(r, all.data() + r * 50);
    return all;
  };
  const std::vector<float> values = read(7, "a");
  EXPECT_EQ(values, read(7, "a"));
  EXPECT_NE(values, read(8, "a"));
  EXPECT_NE(values, read(7, "b"));
  double mean = 0, square = 0;
  for (const float v : values) {
    mean += v / 10000.0;
    square += double(v) * v / 10000.0;
  }
  EXPECT_NEAR(mean, 0, 0.001);
  EXPECT_NEAR(std::sqrt(square), 0.02, 0.0005);
  std::vector<float> norm(50);
  seededRows(7, "norm", {50})->readRow(0, norm.data());
  EXPECT_EQ(norm, std::vector<float>(50, 1.0f));
}

} // namespace
} // namespace lorac::formats
