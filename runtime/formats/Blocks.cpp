#include "runtime/formats/Blocks.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

namespace lorac::formats {
namespace {

constexpr struct {
  uint32_t number;
  GgmlTypeInfo info;
} types[] = {
    {0, {"F32", 1, 4, true}},          {1, {"F16", 1, 2, true}},
    {2, {"Q4_0", 32, 18, true}},       {3, {"Q4_1", 32, 20, true}},
    {6, {"Q5_0", 32, 22, false}},      {7, {"Q5_1", 32, 24, false}},
    {8, {"Q8_0", 32, 34, true}},       {9, {"Q8_1", 32, 36, false}},
    {10, {"Q2_K", 256, 84, false}},    {11, {"Q3_K", 256, 110, false}},
    {12, {"Q4_K", 256, 144, false}},   {13, {"Q5_K", 256, 176, false}},
    {14, {"Q6_K", 256, 210, false}},   {15, {"Q8_K", 256, 292, false}},
    {16, {"IQ2_XXS", 256, 66, false}}, {17, {"IQ2_XS", 256, 74, false}},
    {18, {"IQ3_XXS", 256, 98, false}}, {19, {"IQ1_S", 256, 50, false}},
    {20, {"IQ4_NL", 32, 18, false}},   {21, {"IQ3_S", 256, 110, false}},
    {22, {"IQ2_S", 256, 82, false}},   {23, {"IQ4_XS", 256, 136, false}},
    {24, {"I8", 1, 1, false}},         {25, {"I16", 1, 2, false}},
    {26, {"I32", 1, 4, false}},        {27, {"I64", 1, 8, false}},
    {28, {"F64", 1, 8, false}},        {29, {"IQ1_M", 256, 56, false}},
    {30, {"BF16", 1, 2, true}},        {34, {"TQ1_0", 256, 54, false}},
    {35, {"TQ2_0", 256, 66, false}},   {39, {"MXFP4", 32, 17, false}},
    {40, {"NVFP4", 64, 36, false}},    {41, {"Q1_0", 128, 18, false}},
};

uint16_t load16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}

void store16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

/// Nibbles of 16 bytes: value i low in byte i, value i+16 high.
void storeNibbles(uint8_t *out, const uint8_t (&codes)[32]) {
  for (int i = 0; i < 16; ++i)
    out[i] = uint8_t(codes[i] | codes[i + 16] << 4);
}

uint8_t clampCode(double value) { return uint8_t(std::clamp(std::trunc(value), 0.0, 15.0)); }

// quantize_row_q8_0_ref, quantize_row_q4_0_ref, quantize_row_q4_1_ref of ggml; products in double
// as the gguf package does, so that no FMA can move a tie.
void encodeQ8_0(const float *x, uint8_t *out) {
  float largest = 0;
  for (int i = 0; i < 32; ++i)
    largest = std::max(largest, std::fabs(x[i]));
  const float d = largest / 127.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  store16(out, f32ToF16(d));
  for (int i = 0; i < 32; ++i)
    out[2 + i] = uint8_t(int8_t(std::round(x[i] * inverse)));
}

void encodeQ4_0(const float *x, uint8_t *out) {
  float extreme = 0;
  for (int i = 0; i < 32; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme))
      extreme = x[i];
  const float d = extreme / -8.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  uint8_t codes[32];
  for (int i = 0; i < 32; ++i)
    codes[i] = clampCode(double(x[i]) * double(inverse) + 8.5);
  store16(out, f32ToF16(d));
  storeNibbles(out + 2, codes);
}

void encodeQ4_1(const float *x, uint8_t *out) {
  const auto [low, high] = std::minmax_element(x, x + 32);
  const float least = *low;
  const float d = (*high - least) / 15.0f;
  const float inverse = d != 0 ? 1.0f / d : 0.0f;
  uint8_t codes[32];
  for (int i = 0; i < 32; ++i)
    codes[i] = clampCode((x[i] - least) * inverse + 0.5f);
  store16(out, f32ToF16(d));
  store16(out + 2, f32ToF16(least));
  storeNibbles(out + 4, codes);
}

} // namespace

std::optional<GgmlTypeInfo> ggmlTypeInfo(uint32_t type) {
  for (const auto &t : types)
    if (t.number == type)
      return t.info;
  return std::nullopt;
}

uint16_t f32ToBf16(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value))
    return uint16_t(bits >> 16 | 0x40); // quiet
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float f16ToF32(uint16_t h) {
  const uint32_t sign = uint32_t(h & 0x8000) << 16;
  const uint32_t exponent = h >> 10 & 31, mantissa = h & 0x3ff;
  if (exponent == 0) { // subnormal: exact as an integer times 2^-24
    const float magnitude = float(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31)
    return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t f32ToF16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const auto sign = uint16_t(bits >> 16 & 0x8000);
  uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000)
    return uint16_t(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) // 65520 and more round to infinity
    return uint16_t(sign | 0x7c00);
  if (magnitude < 0x38800000) {
    // Subnormal: adding 0.5 leaves the value, rounded to even, in units of 2^-24 in the low bits.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return uint16_t(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  magnitude += 0xfff + (magnitude >> 13 & 1);
  return uint16_t(sign | ((magnitude - 0x38000000) >> 13));
}

void decodeCodes(GgmlType type, const uint8_t *source, uint8_t *out, int64_t count) {
  const int64_t blockBytes = rowBytes(type, ggmlBlock);
  const int64_t head = type == GgmlType::Q4_1 ? 4 : 2;
  for (; count > 0; count -= ggmlBlock, source += blockBytes, out += ggmlBlock) {
    if (type == GgmlType::Q8_0) {
      memcpy(out, source + head, size_t(ggmlBlock));
      continue;
    }
    for (int64_t i = 0; i < 16; ++i) {
      out[i] = source[head + i] & 15;
      out[i + 16] = source[head + i] >> 4;
    }
  }
}

int64_t rowBytes(GgmlType type, int64_t count) {
  const auto info = ggmlTypeInfo(uint32_t(type));
  return count / info->blockValues * info->blockBytes;
}

void decodeRow(GgmlType type, const uint8_t *source, float *out, int64_t count) {
  switch (type) {
  case GgmlType::F32:
    memcpy(out, source, size_t(count) * 4);
    return;
  case GgmlType::F16:
    for (int64_t i = 0; i < count; ++i)
      out[i] = f16ToF32(load16(source + 2 * i));
    return;
  case GgmlType::BF16:
    for (int64_t i = 0; i < count; ++i)
      out[i] = bf16ToF32(load16(source + 2 * i));
    return;
  case GgmlType::Q8_0:
    for (int64_t i = 0; i < count; i += ggmlBlock, source += q8_0Bytes) {
      const float d = f16ToF32(load16(source));
      for (int j = 0; j < ggmlBlock; ++j)
        out[i + j] = float(int8_t(source[2 + j])) * d;
    }
    return;
  case GgmlType::Q4_0:
    for (int64_t i = 0; i < count; i += ggmlBlock, source += q4_0Bytes) {
      const float d = f16ToF32(load16(source));
      for (int j = 0; j < 16; ++j) {
        out[i + j] = float(int(source[2 + j] & 15) - 8) * d;
        out[i + j + 16] = float(int(source[2 + j] >> 4) - 8) * d;
      }
    }
    return;
  case GgmlType::Q4_1:
    for (int64_t i = 0; i < count; i += ggmlBlock, source += q4_1Bytes) {
      const float d = f16ToF32(load16(source)), m = f16ToF32(load16(source + 2));
      for (int j = 0; j < 16; ++j) {
        out[i + j] = float(source[4 + j] & 15) * d + m;
        out[i + j + 16] = float(source[4 + j] >> 4) * d + m;
      }
    }
    return;
  }
  assert(false && "readers refuse other types");
}

void encodeRow(GgmlType type, const float *source, uint8_t *out, int64_t count) {
  switch (type) {
  case GgmlType::F32:
    memcpy(out, source, size_t(count) * 4);
    return;
  case GgmlType::F16:
    for (int64_t i = 0; i < count; ++i)
      store16(out + 2 * i, f32ToF16(source[i]));
    return;
  case GgmlType::BF16:
    for (int64_t i = 0; i < count; ++i)
      store16(out + 2 * i, f32ToBf16(source[i]));
    return;
  case GgmlType::Q8_0:
    for (int64_t i = 0; i < count; i += ggmlBlock, out += q8_0Bytes)
      encodeQ8_0(source + i, out);
    return;
  case GgmlType::Q4_0:
    for (int64_t i = 0; i < count; i += ggmlBlock, out += q4_0Bytes)
      encodeQ4_0(source + i, out);
    return;
  case GgmlType::Q4_1:
    for (int64_t i = 0; i < count; i += ggmlBlock, out += q4_1Bytes)
      encodeQ4_1(source + i, out);
    return;
  }
  assert(false && "writers name one of these types");
}

} // namespace lorac::formats
