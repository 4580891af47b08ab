#pragma once
// bitsandbytes' NF4 and FP4 on the CPU, byte for byte: codes, absmax, and absmax in 8 bits (double
// quantization).

#include "runtime/formats/Codebooks.h"

#include <cstdint>
#include <span>

namespace lorac::formats {

/// Quantizes one block of `count` values: one code a byte into `codes`; the result is absmax.
/// `whole`: the block is full, and bitsandbytes multiplies by 1/absmax; in a last partial block it
/// divides, and its absmax is at least 1e-38. An exact tie takes the lower code. A zero block gets
/// the code of zero. Thread-safe, as all here.
float quantizeBlock(FourBit type, const float *values, int64_t count, bool whole, uint8_t *codes);

/// Double quantization: offset = mean(absmax), then 8-bit codes (Dynamic8::Signed) and one absmax
/// for 256 of them.
float nestedOffset(std::span<const float> absmax);
void quantizeNested(std::span<const float> absmax, float offset, uint8_t *codes,
                    float *nestedAbsmax);

} // namespace lorac::formats
