#pragma once
// The format strings of frozen weights (docs/design.md, "Frozen weights"). No dependencies:
// compiler and runtime include it.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::formats {

struct WeightFormat {
  enum Kind { F32, F16, BF16, Q8_0, Q4_0, Q4_1, Nf4, Fp4, Vector };
  Kind kind = F32;
  int64_t block = 0;        ///< Nf4, Fp4: values per absmax; the ggml formats: 32
  bool doubleQuant = false; ///< Nf4, Fp4: absmax in 8 bits, blocks of 256

  constexpr bool isNf4OrFp4() const { return kind == Nf4 || kind == Fp4; }
  constexpr bool isGgmlBlocks() const { return kind == Q8_0 || kind == Q4_0 || kind == Q4_1; }
  bool operator==(const WeightFormat &) const = default;
};

/// `f32`, `f16`, `bf16`, `q8_0`, `q4_0`, `q4_1`, `vector`, `nf4<64>`, `fp4<128, dq256>`; spaces are
/// free.
inline std::optional<WeightFormat> parseWeightFormat(std::string_view text) {
  std::string s;
  for (char c : text)
    if (c != ' ')
      s += c;
  using F = WeightFormat;
  constexpr struct {
    std::string_view name;
    F::Kind kind;
    int64_t block;
  } plain[] = {{"f32", F::F32, 0},      {"f16", F::F16, 0},    {"bf16", F::BF16, 0},
               {"q8_0", F::Q8_0, 32},   {"q4_0", F::Q4_0, 32}, {"q4_1", F::Q4_1, 32},
               {"vector", F::Vector, 0}};
  for (auto &p : plain)
    if (s == p.name)
      return F{p.kind, p.block, false};
  F format;
  if (s.starts_with("nf4<"))
    format.kind = F::Nf4;
  else if (s.starts_with("fp4<"))
    format.kind = F::Fp4;
  else
    return std::nullopt;
  size_t at = 4;
  while (at < s.size() && s[at] >= '0' && s[at] <= '9' && at < 10)
    format.block = format.block * 10 + (s[at++] - '0');
  std::string_view rest = std::string_view(s).substr(at);
  if (rest == ",dq256>")
    format.doubleQuant = true;
  else if (rest != ">")
    return std::nullopt;
  // bitsandbytes takes 32, 64, … 4096.
  if (format.block < 32 || format.block > 4096 || (format.block & (format.block - 1)))
    return std::nullopt;
  return format;
}

inline std::string toString(const WeightFormat &format) {
  constexpr const char *names[] = {"f32",  "f16", "bf16", "q8_0",  "q4_0",
                                   "q4_1", "nf4", "fp4",  "vector"};
  std::string text = names[format.kind];
  if (format.isNf4OrFp4())
    text += "<" + std::to_string(format.block) + (format.doubleQuant ? ", dq256>" : ">");
  return text;
}

} // namespace lorac::formats
