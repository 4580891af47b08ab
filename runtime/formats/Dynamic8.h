#pragma once
// bitsandbytes' dynamic 8-bit numbers (Dettmers 2015, arXiv 1511.04561) on the CPU, byte for byte:
// blocks of numbers as a code each and one absmax. Double quantization uses them and so do an
// optimizer's states.

#include <array>
#include <cstdint>
#include <span>

namespace lorac::formats {

enum class Dynamic8 { Signed, Unsigned };

/// Numbers that share an absmax.
inline constexpr int64_t dynamicBlock = 256;

/// The 256 values by code, ascending (create_dynamic_map(signed, 7, 8)).
const float *dynamicMap(Dynamic8 kind);

/// The code of 0.
uint8_t dynamicZero(Dynamic8 kind);

/// What a kernel needs of one map: its 256 values, then where on the grid (see quantizeDynamic)
/// each code ends: the first point, 0 to 65535, with a greater code; infinity for the last.
inline constexpr int64_t dynamicTableFloats = 512;
using DynamicTable = std::array<float, dynamicTableFloats>;
DynamicTable dynamicTable(Dynamic8 kind);

/// Quantizes one block of at most 256 values (as many are in `codes`); the result is its absmax.
/// bitsandbytes does not take the nearest value: with x = value * (1 / absmax) in [-1, 1] it takes
/// point trunc((x + 1) * 0.5f * 65535 + 0.5f) of a grid, each operation in float32, and the code
/// nearest to that point / 65535 * 2 - 1; a tie takes the lower code. So a signed 0 beside other
/// values comes back as 2.1e-5 absmax. A block of zeros, or so near to 0 that 1 / absmax is
/// infinite, has code 0 everywhere and absmax 0. Thread-safe, as all here.
float quantizeDynamic(Dynamic8 kind, std::span<const float> values, uint8_t *codes);

} // namespace lorac::formats
