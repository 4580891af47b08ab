// Block formats against gguf's own decoder and quantizer; halves against the compiler's _Float16.
#include "runtime/formats/Blocks.h"
#include "runtime/formats/RowWeight.h"
#include "tests/unit/formats/BlockTypes.h"
#include "tests/unit/formats/Matrices.h"
#include "tests/unit/formats/Support.h"

#include <bit>
#include <cmath>
#include <random>

namespace lorac::formats {
namespace {

std::vector<float> decodedTensor(const Safetensors &file, GgmlType type, const std::string &name) {
  const TensorInfo *raw = file.find(name + ".raw");
  const int64_t blocks = int64_t(raw->size) / ggmlTypeInfo(type)->blockBytes;
  std::vector<float> decoded(size_t(blocks * ggmlTypeInfo(type)->blockValues));
  EXPECT_EQ(rowBytes(type, int64_t(decoded.size())), int64_t(raw->size));
  decodeRow(type, file.bytes(*raw).data(), decoded.data(), int64_t(decoded.size()));
  return decoded;
}

/// Every type that is read, by the name that the table gives it.
TEST(Blocks, decodeAsGguf) {
  const Safetensors file = take(Safetensors::open(golden + "/gguf/gguf_blocks.safetensors"));
  forEachBlockType([&](GgmlType type, const GgmlTypeInfo &info) {
    if (!info.read) // floats: `tensors`, and the halves below
      return;
    const std::string name(info.name);
    ASSERT_TRUE(file.find(name + ".raw")) << "the goldens have no such type";
    EXPECT_EQ(decodedTensor(file, type, name), take(file.floats(name + ".dequant")));
  });
  const std::pair<const char *, GgmlType> tensors[] = {
      {"smollm2.blk.0.attn_q.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.blk.3.ffn_down.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.blk.7.attn_v.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.token_embd.weight.rows0_1", GgmlType::Q8_0},
      {"smollm2.output_norm.weight.rows0_1", GgmlType::F32}};
  for (const auto &[name, type] : tensors)
    EXPECT_EQ(decodedTensor(file, type, name), take(file.floats(std::string(name) + ".dequant")))
        << name;
}

/// What kernels read, packed in panels and by rows, is what gguf decodes, bit for bit.
TEST(Blocks, packedAsGguf) {
  const Safetensors file = take(Safetensors::open(golden + "/gguf/gguf_blocks.safetensors"));
  forEachBlockType([&](GgmlType type, const GgmlTypeInfo &info) {
    if (!info.read)
      return;
    const WeightFormat &format = *info.kept;
    const std::string name(info.name);
    ASSERT_TRUE(file.find(name + ".raw")) << "the goldens have no such type";
    const std::vector<float> expected = take(file.floats(name + ".dequant"));
    const int64_t n = 2, k = int64_t(expected.size()) / n;
    const auto raw = file.bytes(*file.find(name + ".raw"));
    const BlockRows source(type, std::vector(raw.begin(), raw.end()), n, k);
    const auto unpacked = [&](auto bytesOf, auto pack, auto unpack) {
      std::vector<std::vector<uint8_t>> parts;
      std::vector<void *> to;
      for (int i = 0; i < partCount(format); ++i)
        parts.emplace_back(size_t(bytesOf(format, i, n, k)));
      for (auto &part : parts)
        to.push_back(part.data());
      const std::vector<const void *> from(to.begin(), to.end());
      take(pack(to));
      std::vector<float> all(expected.size());
      for (int64_t row = 0; row < n; ++row)
        unpack(from, row, all.data() + row * k);
      return all;
    };
    EXPECT_EQ(
        unpacked(
            partBytes, [&](auto &to) { return packWeight(source, format, to); },
            [&](auto &from, int64_t row, float *out) { unpackRow(format, n, k, from, row, out); }),
        expected);
    EXPECT_EQ(unpacked(
                  rowPartBytes,
                  [&](auto &to) { return packRowWeight(source, format, ComputeType::BF16, to); },
                  [&](auto &from, int64_t row, float *out) {
                    unpackRowWeight(format, ComputeType::BF16, n, k, from, row, out);
                  }),
              expected);
  });
}

TEST(Blocks, encodeAsGguf) {
  const Safetensors file = take(Safetensors::open(golden + "/gguf/gguf_blocks.safetensors"));
  for (const auto &[name, type] : {std::pair<std::string, GgmlType>{"Q4_0", GgmlType::Q4_0},
                                   {"Q4_1", GgmlType::Q4_1},
                                   {"Q8_0", GgmlType::Q8_0}}) {
    SCOPED_TRACE(name);
    const std::vector<float> input = take(file.floats(name + ".input"));
    const TensorInfo *raw = file.find(name + ".raw");
    std::vector<uint8_t> encoded(raw->size);
    encodeRow(type, input.data(), encoded.data(), int64_t(input.size()));
    const auto expected = file.bytes(*raw);
    EXPECT_EQ(encoded, std::vector<uint8_t>(expected.begin(), expected.end()));
  }
}

TEST(Blocks, everyHalfBothWays) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto expected = float(std::bit_cast<_Float16>(uint16_t(bits)));
    const float value = f16ToF32(uint16_t(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
      EXPECT_TRUE(std::isnan(f16ToF32(f32ToF16(value)))) << bits;
      continue;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << bits;
    ASSERT_EQ(f32ToF16(value), bits);
  }
}

TEST(Blocks, halvesRoundToEven) {
  std::mt19937 random(3);
  const auto check = [](float value) {
    const auto expected = std::bit_cast<uint16_t>(_Float16(value));
    ASSERT_EQ(f32ToF16(value), expected) << value;
    // bfloat16: the nearer of the two neighbours, the even one in the middle.
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t below = bits >> 16, rest = bits & 0xffff;
    const uint32_t rounded = below + (rest > 0x8000 || (rest == 0x8000 && below % 2 == 1) ? 1 : 0);
    ASSERT_EQ(f32ToBf16(value), rounded) << value;
  };
  for (int i = 0; i < 200000; ++i) {
    const float value = std::bit_cast<float>(uint32_t(random()));
    if (!std::isnan(value))
      check(value);
    // Around the range of halves, and exactly between two of them.
    const float half = f16ToF32(uint16_t(random() % 0x7bff)),
                next = f16ToF32(uint16_t(f32ToF16(half) + 1));
    check((half + next) / 2);
    check(std::nextafter((half + next) / 2, 0.0f));
    check(std::nextafter((half + next) / 2, 1e9f));
  }
  for (const float value :
       {65519.0f, 65520.0f, 65536.0f, 1e30f, 0.0f, -0.0f, 5.9604645e-8f, 2.9802322e-8f, 2.98e-8f})
    check(value);
  EXPECT_TRUE(std::isnan(bf16ToF32(f32ToBf16(NAN))));
}

TEST(Blocks, knowsOtherTypesByName) {
  EXPECT_EQ(ggmlTypeInfo(10)->name, "Q2_K");
  EXPECT_FALSE(ggmlTypeInfo(10)->kept);
  EXPECT_FALSE(ggmlTypeInfo(4)); // Q4_2, gone from ggml
  EXPECT_FALSE(ggmlTypeInfo(uint32_t(-1)));
}

} // namespace
} // namespace lorac::formats
