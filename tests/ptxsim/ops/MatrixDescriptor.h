// Where wgmma finds a matrix in shared memory (PTX ISA, "Matrix descriptor format", "Strides").
#ifndef PTXSIM_OPS_MATRIXDESCRIPTOR_H
#define PTXSIM_OPS_MATRIXDESCRIPTOR_H

#include <cstdint>

namespace ptxsim {

struct MatrixDescriptor {
  enum Swizzle : uint32_t { None, Swizzle128, Swizzle64, Swizzle32 };

  explicit MatrixDescriptor(uint64_t bits)
      : start(field(bits, 0)), leading(field(bits, 16)), stride(field(bits, 32)),
        baseOffset(bits >> 49 & 7), swizzle(static_cast<Swizzle>(bits >> 62)) {}

  uint32_t start, leading, stride; // bytes
  uint32_t baseOffset;
  Swizzle swizzle;

  /// Null, or what is not known here.
  const char *unknown() const {
    if (swizzle != None && swizzle != Swizzle128)
      return "swizzles of 32 and 64 bytes are not known to ptxsim";
    if (baseOffset || (swizzle == Swizzle128 && start >> 7 & 7))
      return "a swizzled pattern must begin at a multiple of 1024 bytes";
    return nullptr;
  }

  /// The first byte of eight 16-bit numbers: of row `outer` of A (column of B) from step `k` on; or
  /// `transposed`, of step `k` from row `outer` on. The one that goes on is a multiple of eight.
  uint32_t piece(bool transposed, uint32_t outer, uint32_t k) const {
    if (swizzle == None) // 8x8 core matrices of 128 bytes
      return start + outer / 8 * stride + k / 8 * leading + (transposed ? k : outer) % 8 * 16;
    uint32_t at = start + (transposed ? outer / 64 * leading + outer % 64 / 8 * 16 +
                                            k / 8 * stride + k % 8 * 128
                                      : outer / 8 * stride + outer % 8 * 128 + k / 8 * 16);
    return at ^ (at >> 7 & 7) << 4;
  }

private:
  static uint32_t field(uint64_t bits, int from) { return (bits >> from & 0x3fff) << 4; }
};

} // namespace ptxsim

#endif
