#pragma once
// Stored number formats of GGUF and safetensors, and their values as float32.

#include <bit>
#include <cstdint>
#include <optional>
#include <string_view>

namespace lorac::formats {

/// ggml's tensor types that are read here; the values are those in the file.
enum class GgmlType : uint32_t {
  F32 = 0,
  F16 = 1,
  Q4_0 = 2,
  Q4_1 = 3,
  Q8_0 = 8,
  BF16 = 30,
};

/// Shape of one block, for every type that ggml has.
struct GgmlTypeInfo {
  std::string_view name;
  uint32_t blockValues, blockBytes;
  bool readable; ///< decodeRow knows it
};
/// Nothing for a number that no version of ggml uses.
std::optional<GgmlTypeInfo> ggmlTypeInfo(uint32_t type);

/// Values per block of the block formats.
constexpr int64_t ggmlBlock = 32;
constexpr int64_t q4_0Bytes =
    18; ///< f16 d; 16 bytes: value i in the low nibble of byte i, value i+16 in the high one
constexpr int64_t q4_1Bytes = 20; ///< f16 d, f16 m; 16 bytes
constexpr int64_t q8_0Bytes = 34; ///< f16 d; 32 int8

inline float bf16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
/// Round to nearest even; a NaN stays one.
uint16_t f32ToBf16(float value);
float f16ToF32(uint16_t bits);
/// Round to nearest even; too large becomes infinity.
uint16_t f32ToF16(float value);

/// `count` values (whole blocks) from `source` (any alignment).
void decodeRow(GgmlType type, const uint8_t *source, float *out, int64_t count);
/// The inverse for F32, F16, BF16, and ggml's own rounding for Q8_0, Q4_0, Q4_1
/// (quantize_row_*_ref).
void encodeRow(GgmlType type, const float *source, uint8_t *out, int64_t count);
/// The integers of `count` values of Q8_0 (as int8), Q4_0 or Q4_1, one a byte, in the order of the
/// values.
void decodeCodes(GgmlType type, const uint8_t *source, uint8_t *out, int64_t count);
/// Bytes of `count` values (whole blocks).
int64_t rowBytes(GgmlType type, int64_t count);

} // namespace lorac::formats
