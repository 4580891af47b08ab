#pragma once
// The types of tensors in GGUF and safetensors, and their rows as float32 or as codes.

#include "runtime/formats/WeightFormat.h"

#include <bit>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::formats {

/// A tensor's type in a GGUF file, by its number there: any row of the table in Blocks.cpp. Those
/// that code names have a name.
enum class GgmlType : uint32_t { F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q8_0 = 8, BF16 = 30 };

/// What ggml has, a row a type. A type is read where the table says how kernels see it.
struct GgmlTypeInfo {
  std::string_view name;
  uint32_t blockValues, blockBytes;
  /// How kernels see the rows as they are stored (format = "keep"); nothing: the type is not read.
  std::optional<WeightFormat> kept = std::nullopt;
  /// The codes of one block, one a byte, and its scales and minima, by the rules of `kept`; null
  /// for floats.
  void (*read)(const uint8_t *block, uint8_t *codes, float *scales, float *minima) = nullptr;
  /// One block from float32; null where none are written.
  void (*write)(const float *values, uint8_t *block) = nullptr;
};
/// Null for a number that no version of ggml uses.
const GgmlTypeInfo *ggmlTypeInfo(uint32_t type);
inline const GgmlTypeInfo *ggmlTypeInfo(GgmlType type) { return ggmlTypeInfo(uint32_t(type)); }
/// The names of all types that are read: "F32, F16, …".
std::string readableGgmlTypes();

inline float bf16ToF32(uint16_t bits) { return std::bit_cast<float>(uint32_t(bits) << 16); }
/// Round to nearest even; a NaN stays one.
uint16_t f32ToBf16(float value);
float f16ToF32(uint16_t bits);
/// Round to nearest even; too large becomes infinity.
uint16_t f32ToF16(float value);

/// Element `index` of a part or a tensor, as float32 and rounded from it (of U8: none).
float loadElement(ElementType type, const void *from, int64_t index);
void storeElement(ElementType type, float value, void *to, int64_t index);

/// `count` values (whole blocks) from `source` (any alignment), of a type that is read.
void decodeRow(GgmlType type, const uint8_t *source, float *out, int64_t count);
/// The inverse, for floats and, with ggml's own rounding (quantize_row_*_ref), where `write` is.
void encodeRow(GgmlType type, const float *source, uint8_t *out, int64_t count);
/// Of a type that is not floats: codes, one a byte; a scale and, where it has them, a minimum a
/// block of `kept`.
void decodeCodes(GgmlType type, const uint8_t *source, int64_t count, uint8_t *codes, float *scales,
                 float *minima);
/// Bytes of `count` values (whole blocks).
int64_t rowBytes(GgmlType type, int64_t count);

} // namespace lorac::formats
