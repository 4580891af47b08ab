#pragma once
// How kernels see a frozen weight, whatever file it came from, and how that is written
// (docs/plan.md, "Frozen weights"). No dependencies: compiler and runtime include it.

#include "runtime/formats/Codebooks.h"

#include <cstdint>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::formats {

enum class ElementType : uint8_t { F32, F16, BF16, U8 };
struct ElementTraits {
  std::string_view name;
  int64_t bytes;
};
constexpr ElementTraits traits(ElementType type) {
  constexpr ElementTraits all[] = {{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"u8", 1}};
  return all[size_t(type)];
}

struct WeightFormat {
  enum Kind : uint8_t {
    Vector,   ///< of a norm: float32
    Floats,   ///< a matrix of `element`s
    Integers, ///< code · scale (+ minimum), in blocks along a row
    Codebook  ///< codebook[code] · scale, in blocks of the flat matrix
  };
  Kind kind = Floats;
  ElementType element = ElementType::F32; ///< of Floats; of the scales and minima of Integers
  int bits = 0;                           ///< of a code, 4 or 8
  int64_t block = 0;                      ///< values that share a scale; 0: there are none
  bool minima = false;                    ///< of Integers
  FourBit codebook = FourBit::Nf4;
  bool doubleQuant = false; ///< of a Codebook: scales in 8 bits, blocks of 256

  static constexpr WeightFormat floats(ElementType element) { return {Floats, element}; }
  static constexpr WeightFormat integers(int bits, int64_t block, ElementType scale,
                                         bool minima = false) {
    return {Integers, scale, bits, block, minima};
  }
  static constexpr WeightFormat codes(FourBit codebook, int64_t block, bool doubleQuant = false) {
    return {Codebook, ElementType::F32, 4, block, false, codebook, doubleQuant};
  }
  bool operator==(const WeightFormat &) const = default;

  /// What a code stands for, before its scale. 8 bits are an int8. 4 bits are 0 to 15 where there
  /// are minima, and -8 to 7 where there are none.
  constexpr float valueOf(uint8_t code) const {
    return kind == Codebook ? codebooks[size_t(codebook)].values[code]
           : bits == 8      ? float(int8_t(code))
                            : float(minima ? code : code - 8);
  }
};

/// One buffer of a weight.
struct FormatPart {
  enum Role : uint8_t { Values, Codes, Scales, Minima, Nested } role;
  std::string_view name;
  ElementType element;
};
/// The parts in the order in which plans and kernels have them.
struct FormatParts {
  FormatPart list[3];
  int count;
  constexpr const FormatPart *begin() const { return list; }
  constexpr const FormatPart *end() const { return list + count; }
};
constexpr FormatParts partsOf(const WeightFormat &f) {
  using enum ElementType;
  constexpr FormatPart codes{FormatPart::Codes, "codes", U8};
  switch (f.kind) {
  case WeightFormat::Vector:
    return {{{FormatPart::Values, "values", F32}}, 1};
  case WeightFormat::Floats:
    return {{{FormatPart::Values, "panels", f.element}}, 1};
  case WeightFormat::Integers:
    return {{codes, {FormatPart::Scales, "d", f.element}, {FormatPart::Minima, "m", f.element}},
            f.minima ? 3 : 2};
  case WeightFormat::Codebook:
    break;
  }
  return {{codes,
           {FormatPart::Scales, "absmax", f.doubleQuant ? U8 : F32},
           {FormatPart::Nested, "nested", F32}},
          f.doubleQuant ? 3 : 2};
}

/// `vector`, `f32`, `f16`, `bf16`, `int8<16, f32>`, `int4<32, f16, min>`, `nf4<64>`,
/// `fp4<128, dq256>`: bits, block, type of the scales, whether there are minima; a codebook's name,
/// block, whether scales are quantized too.
inline std::string toString(const WeightFormat &f) {
  if (f.kind == WeightFormat::Vector)
    return "vector";
  if (f.kind == WeightFormat::Floats)
    return std::string(traits(f.element).name);
  const std::string block = "<" + std::to_string(f.block);
  if (f.kind == WeightFormat::Codebook)
    return std::string(codebooks[size_t(f.codebook)].name) + block +
           (f.doubleQuant ? ", dq256>" : ">");
  return "int" + std::to_string(f.bits) + block + ", " + std::string(traits(f.element).name) +
         (f.minima ? ", min>" : ">");
}

/// Spaces are free.
inline std::optional<WeightFormat> parseWeightFormat(std::string_view text) {
  using enum ElementType;
  std::string s;
  for (const char c : text)
    if (c != ' ')
      s += c;
  if (s == "vector")
    return WeightFormat{WeightFormat::Vector};
  for (const ElementType element : {F32, F16, BF16})
    if (s == traits(element).name)
      return WeightFormat::floats(element);
  // NAME<BLOCK…: one of the few with this block.
  int64_t block = 0;
  for (size_t at = s.find('<'); at < s.size() - 1 && block <= 4096; ++at)
    if (const char digit = s[at + 1]; digit >= '0' && digit <= '9')
      block = block * 10 + (digit - '0');
    else
      break;
  if (block < 16 || block > 4096 || (block & (block - 1)) != 0)
    return std::nullopt;
  const auto is = [&](const WeightFormat &format) {
    std::string spelled;
    for (const char c : toString(format))
      if (c != ' ')
        spelled += c;
    return spelled == s;
  };
  for (const bool second : {false, true}) {
    if (block >= 32) // bitsandbytes takes 32, 64, … 4096
      for (size_t book = 0; book < std::size(codebooks); ++book)
        if (const auto format = WeightFormat::codes(FourBit(book), block, second); is(format))
          return format;
    if (block <= 64) // blocks divide the CUDA kernels' tiles of 64 columns
      for (const int bits : {4, 8})
        for (const ElementType scale : {F16, F32})
          if (const auto format = WeightFormat::integers(bits, block, scale, second); is(format))
            return format;
  }
  return std::nullopt;
}

} // namespace lorac::formats
