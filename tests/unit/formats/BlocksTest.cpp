// Block formats against gguf's own decoder and quantizer; halves against the compiler's _Float16.
#include "runtime/formats/Blocks.h"
#include "tests/unit/formats/Support.h"

#include <bit>
#include <cmath>
#include <random>

namespace lorac::formats {
namespace {

TEST(Blocks, decodeAsGguf) {
  const Safetensors file = take(Safetensors::open(golden + "/gguf/gguf_blocks.safetensors"));
  const std::pair<const char *, GgmlType> cases[] = {
      {"Q4_0", GgmlType::Q4_0},
      {"Q4_1", GgmlType::Q4_1},
      {"Q8_0", GgmlType::Q8_0},
      {"smollm2.blk.0.attn_q.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.blk.3.ffn_down.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.blk.7.attn_v.weight.rows0_1", GgmlType::Q4_1},
      {"smollm2.token_embd.weight.rows0_1", GgmlType::Q8_0},
      {"smollm2.output_norm.weight.rows0_1", GgmlType::F32}};
  for (const auto &[name, type] : cases) {
    SCOPED_TRACE(name);
    const TensorInfo *raw = file.find(std::string(name) + ".raw");
    ASSERT_TRUE(raw);
    const std::vector<float> expected = take(file.floats(std::string(name) + ".dequant"));
    ASSERT_EQ(rowBytes(type, int64_t(expected.size())), int64_t(raw->size));
    std::vector<float> decoded(expected.size());
    decodeRow(type, file.bytes(*raw).data(), decoded.data(), int64_t(decoded.size()));
    EXPECT_EQ(decoded, expected);
  }
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
  EXPECT_EQ(ggmlTypeInfo(12)->name, "Q4_K");
  EXPECT_FALSE(ggmlTypeInfo(12)->readable);
  EXPECT_FALSE(ggmlTypeInfo(4)); // Q4_2, gone from ggml
  EXPECT_FALSE(ggmlTypeInfo(uint32_t(-1)));
}

} // namespace
} // namespace lorac::formats
