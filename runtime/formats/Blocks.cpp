#include "runtime/formats/Blocks.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

namespace lorac::formats {
namespace {

uint16_t load16(const uint8_t *p) {
  uint16_t v;
  memcpy(&v, p, 2);
  return v;
}
float half(const uint8_t *p) { return f16ToF32(load16(p)); }

void store16(uint8_t *p, uint16_t v) { memcpy(p, &v, 2); }

/// Of `count` bytes: the low nibbles, then the high ones.
void loadNibbles(const uint8_t *from, int count, uint8_t *codes) {
  for (int i = 0; i < count; ++i) {
    codes[i] = from[i] & 15;
    codes[i + count] = from[i] >> 4;
  }
}

/// Nibbles of 16 bytes: value i low in byte i, value i+16 high.
void storeNibbles(uint8_t *out, const uint8_t (&codes)[32]) {
  for (int i = 0; i < 16; ++i)
    out[i] = uint8_t(codes[i] | codes[i + 16] << 4);
}

uint8_t clampCode(double value) { return uint8_t(std::clamp(std::trunc(value), 0.0, 15.0)); }

//===--- readers: one block each; ggml-common.h has the blocks ---===//

// d; 32 int8.
void readQ8_0(const uint8_t *block, uint8_t *codes, float *scales, float *) {
  scales[0] = half(block);
  memcpy(codes, block + 2, 32);
}

// d; nibbles. So is IQ4_NL.
void readQ4_0(const uint8_t *block, uint8_t *codes, float *scales, float *) {
  scales[0] = half(block);
  loadNibbles(block + 2, 16, codes);
}

// d; m; nibbles.
void readQ4_1(const uint8_t *block, uint8_t *codes, float *scales, float *minima) {
  scales[0] = half(block), minima[0] = half(block + 2);
  loadNibbles(block + 4, 16, codes);
}

// The fifth bits of 32 codes, then their nibbles; less `zero`.
void readFifths(const uint8_t *from, int zero, uint8_t *codes) {
  loadNibbles(from + 4, 16, codes);
  for (int i = 0; i < 32; ++i)
    codes[i] = uint8_t((codes[i] | (from[i / 8] >> i % 8 & 1) << 4) - zero);
}

// d; fifth bits; nibbles: code - 16.
void readQ5_0(const uint8_t *block, uint8_t *codes, float *scales, float *) {
  scales[0] = half(block);
  readFifths(block + 2, 16, codes);
}

// d; m; fifth bits; nibbles.
void readQ5_1(const uint8_t *block, uint8_t *codes, float *scales, float *minima) {
  scales[0] = half(block), minima[0] = half(block + 2);
  readFifths(block + 4, 0, codes);
}

// d; dmin; eight scales and eight minima of 6 bits in 12 bytes.
void readSixes(const uint8_t *block, float *scales, float *minima) {
  const float d = half(block), least = half(block + 2);
  const uint8_t *s = block + 4, *m = block + 8, *both = block + 12;
  for (int i = 0; i < 4; ++i) {
    scales[i] = d * float(s[i] & 63), minima[i] = -(least * float(m[i] & 63));
    scales[i + 4] = d * float((both[i] & 15) | (s[i] >> 2 & 48));
    minima[i + 4] = -(least * float(both[i] >> 4 | (m[i] >> 2 & 48)));
  }
}

// Scales; 4 x 32 bytes of nibbles.
void readQ4_K(const uint8_t *block, uint8_t *codes, float *scales, float *minima) {
  readSixes(block, scales, minima);
  for (int i = 0; i < 4; ++i)
    loadNibbles(block + 16 + 32 * i, 32, codes + 64 * i);
}

// Scales; 32 bytes, whose bit b is the fifth one of codes 32b..; nibbles as above.
void readQ5_K(const uint8_t *block, uint8_t *codes, float *scales, float *minima) {
  readSixes(block, scales, minima);
  for (int i = 0; i < 4; ++i)
    loadNibbles(block + 48 + 32 * i, 32, codes + 64 * i);
  for (int i = 0; i < 256; ++i)
    codes[i] |= uint8_t((block[16 + i % 32] >> i / 32 & 1) << 4);
}

// 2 x 64 bytes of nibbles; 2 x 32 bytes, whose bits 2b.. are the upper ones of codes 32b..; 16 int8
// scales; d. Code - 32.
void readQ6_K(const uint8_t *block, uint8_t *codes, float *scales, float *) {
  for (int i = 0; i < 2; ++i)
    loadNibbles(block + 64 * i, 64, codes + 128 * i);
  for (int i = 0; i < 256; ++i) {
    const int upper = block[128 + i / 128 * 32 + i % 32] >> i % 128 / 32 * 2 & 3;
    codes[i] = uint8_t((codes[i] | upper << 4) - 32);
  }
  for (int i = 0; i < 16; ++i)
    scales[i] = half(block + 208) * float(int8_t(block[192 + i]));
}

//===--- writers ---===//

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

//===--- the table ---===//

constexpr WeightFormat floats(ElementType element) { return WeightFormat::floats(element); }
constexpr WeightFormat ints(int bits, int64_t block, ElementType scale) {
  return WeightFormat::integers(bits, block, scale);
}
constexpr WeightFormat intsWithMinima(int bits, int64_t block, ElementType scale) {
  return WeightFormat::integers(bits, block, scale, true);
}

using enum ElementType;
constexpr struct {
  uint32_t number;
  GgmlTypeInfo info;
} types[] = {
    // clang-format off
    {0, {"F32", 1, 4, floats(F32)}},
    {1, {"F16", 1, 2, floats(F16)}},
    {2, {"Q4_0", 32, 18, ints(4, 32, F16), readQ4_0, encodeQ4_0}},
    {3, {"Q4_1", 32, 20, intsWithMinima(4, 32, F16), readQ4_1, encodeQ4_1}},
    {6, {"Q5_0", 32, 22, ints(8, 32, F16), readQ5_0}},
    {7, {"Q5_1", 32, 24, intsWithMinima(8, 32, F16), readQ5_1}},
    {8, {"Q8_0", 32, 34, ints(8, 32, F16), readQ8_0, encodeQ8_0}},
    {9, {"Q8_1", 32, 36}},
    {10, {"Q2_K", 256, 84}},
    {11, {"Q3_K", 256, 110}},
    {12, {"Q4_K", 256, 144, intsWithMinima(4, 32, F32), readQ4_K}},
    {13, {"Q5_K", 256, 176, intsWithMinima(8, 32, F32), readQ5_K}},
    {14, {"Q6_K", 256, 210, ints(8, 16, F32), readQ6_K}},
    {15, {"Q8_K", 256, 292}},
    {16, {"IQ2_XXS", 256, 66}},
    {17, {"IQ2_XS", 256, 74}},
    {18, {"IQ3_XXS", 256, 98}},
    {19, {"IQ1_S", 256, 50}},
    {20, {"IQ4_NL", 32, 18, WeightFormat::codes(FourBit::Iq4nl, 32), readQ4_0}},
    {21, {"IQ3_S", 256, 110}},
    {22, {"IQ2_S", 256, 82}},
    {23, {"IQ4_XS", 256, 136}},
    {24, {"I8", 1, 1}},
    {25, {"I16", 1, 2}},
    {26, {"I32", 1, 4}},
    {27, {"I64", 1, 8}},
    {28, {"F64", 1, 8}},
    {29, {"IQ1_M", 256, 56}},
    {30, {"BF16", 1, 2, floats(BF16)}},
    {34, {"TQ1_0", 256, 54}},
    {35, {"TQ2_0", 256, 66}},
    {39, {"MXFP4", 32, 17}},
    {40, {"NVFP4", 64, 36}},
    {41, {"Q1_0", 128, 18}},
    // clang-format on
};
constexpr int64_t mostValues = 256, mostScales = 16; ///< of a block

} // namespace

const GgmlTypeInfo *ggmlTypeInfo(uint32_t type) {
  for (const auto &t : types)
    if (t.number == type)
      return &t.info;
  return nullptr;
}

std::string readableGgmlTypes() {
  std::string names;
  for (const auto &t : types)
    if (t.info.kept)
      names += (names.empty() ? "" : ", ") + std::string(t.info.name);
  return names;
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

float loadElement(ElementType type, const void *from, int64_t index) {
  const uint8_t *at = static_cast<const uint8_t *>(from) + index * traits(type).bytes;
  if (type == F16)
    return f16ToF32(load16(at));
  if (type == BF16)
    return bf16ToF32(load16(at));
  assert(type == F32);
  float value;
  memcpy(&value, at, 4);
  return value;
}

void storeElement(ElementType type, float value, void *to, int64_t index) {
  uint8_t *at = static_cast<uint8_t *>(to) + index * traits(type).bytes;
  if (type == F16)
    return store16(at, f32ToF16(value));
  if (type == BF16)
    return store16(at, f32ToBf16(value));
  assert(type == F32);
  memcpy(at, &value, 4);
}

/// The same of `count` elements in a row.
static void loadElements(ElementType type, const uint8_t *from, float *out, int64_t count) {
  if (type == F16) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = f16ToF32(load16(from + 2 * i));
  } else if (type == BF16) {
    for (int64_t i = 0; i < count; ++i)
      out[i] = bf16ToF32(load16(from + 2 * i));
  } else {
    assert(type == F32);
    memcpy(out, from, size_t(count) * 4);
  }
}

static void storeElements(ElementType type, const float *from, uint8_t *out, int64_t count) {
  if (type == F16) {
    for (int64_t i = 0; i < count; ++i)
      store16(out + 2 * i, f32ToF16(from[i]));
  } else if (type == BF16) {
    for (int64_t i = 0; i < count; ++i)
      store16(out + 2 * i, f32ToBf16(from[i]));
  } else {
    assert(type == F32);
    memcpy(out, from, size_t(count) * 4);
  }
}

int64_t rowBytes(GgmlType type, int64_t count) {
  const GgmlTypeInfo *info = ggmlTypeInfo(type);
  return count / info->blockValues * info->blockBytes;
}

void decodeCodes(GgmlType type, const uint8_t *source, int64_t count, uint8_t *codes, float *scales,
                 float *minima) {
  const GgmlTypeInfo &info = *ggmlTypeInfo(type);
  const int64_t scalesOfBlock = info.blockValues / info.kept->block;
  for (int64_t at = 0; at < count; at += info.blockValues, source += info.blockBytes) {
    info.read(source, codes + at, scales, minima);
    scales += scalesOfBlock, minima += info.kept->minima ? scalesOfBlock : 0;
  }
}

void decodeRow(GgmlType type, const uint8_t *source, float *out, int64_t count) {
  const GgmlTypeInfo &info = *ggmlTypeInfo(type);
  assert(info.kept && "readers refuse other types");
  const WeightFormat &format = *info.kept;
  if (format.kind == WeightFormat::Floats)
    return loadElements(format.element, source, out, count);
  uint8_t codes[mostValues];
  float scales[mostScales], minima[mostScales];
  for (int64_t at = 0; at < count; at += info.blockValues, source += info.blockBytes) {
    info.read(source, codes, scales, minima);
    for (int64_t i = 0; i < info.blockValues; ++i) {
      const float value = format.valueOf(codes[i]) * scales[i / format.block];
      *out++ = format.minima ? value + minima[i / format.block] : value;
    }
  }
}

void encodeRow(GgmlType type, const float *source, uint8_t *out, int64_t count) {
  const GgmlTypeInfo &info = *ggmlTypeInfo(type);
  if (info.kept && info.kept->kind == WeightFormat::Floats) {
    storeElements(info.kept->element, source, out, count);
  } else {
    assert(info.write && "writers name a type that is written");
    for (int64_t i = 0; i < count; i += info.blockValues, out += info.blockBytes)
      info.write(source + i, out);
  }
}

} // namespace lorac::formats
