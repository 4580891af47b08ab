#pragma once
// The values of 4-bit codes before their scale. No dependencies: compiler and runtime include it.

#include <string_view>

namespace lorac::formats {

/// NF4 by code (Dettmers et al. 2023, appendix E).
inline constexpr float nf4Codes[16] = {-1.0f,
                                       -0.6961928009986877f,
                                       -0.5250730514526367f,
                                       -0.39491748809814453f,
                                       -0.28444138169288635f,
                                       -0.18477343022823334f,
                                       -0.09105003625154495f,
                                       0.0f,
                                       0.07958029955625534f,
                                       0.16093020141124725f,
                                       0.24611230194568634f,
                                       0.33791524171829224f,
                                       0.44070982933044434f,
                                       0.5626170039176941f,
                                       0.7229568362236023f,
                                       1.0f};

/// bitsandbytes' FP4 by code: sign, then 0, 1/192, 2/3, 1, 1/3, 1/2, 1/6, 1/4; it divides 0,
/// 0.0625, 8, 12, 4, 6, 2, 3 by 12.
inline constexpr float fp4Codes[16] = {
    0.0f,  0.0625f / 12,  8.0f / 12,  12.0f / 12,  4.0f / 12,  6.0f / 12,  2.0f / 12,  3.0f / 12,
    -0.0f, -0.0625f / 12, -8.0f / 12, -12.0f / 12, -4.0f / 12, -6.0f / 12, -2.0f / 12, -3.0f / 12};

/// ggml's IQ4_NL and IQ4_XS by code.
inline constexpr float iq4nlCodes[16] = {-127.0f, -104.0f, -83.0f, -65.0f, -49.0f, -35.0f,
                                         -22.0f,  -10.0f,  1.0f,   13.0f,  25.0f,  38.0f,
                                         53.0f,   69.0f,   89.0f,  113.0f};

/// Rows of the table below.
enum class FourBit { Nf4, Fp4, Iq4nl };
inline constexpr struct {
  std::string_view name;
  const float (&values)[16];
  bool quantized; ///< weights can be quantized to it; others are as a file has them
} codebooks[] = {{"nf4", nf4Codes, true}, {"fp4", fp4Codes, true}, {"iq4nl", iq4nlCodes, false}};

} // namespace lorac::formats
