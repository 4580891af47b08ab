#pragma once
// Sizes of the parts of a weight by rows, as the CUDA kernels read it (docs/cuda.md, "Frozen
// weights by rows"). No dependencies beyond PackedLayout.h and WeightFormat.h: the compiler plans
// with it, the runtime allocates and fills with it.

#include "runtime/formats/PackedLayout.h"

namespace lorac::formats {

/// The type that a floating-point weight is kept in: that of the activations.
enum class ComputeType { BF16, F16 };

inline std::optional<ComputeType> parseComputeType(std::string_view text) {
  if (text == "bf16")
    return ComputeType::BF16;
  if (text == "f16")
    return ComputeType::F16;
  return std::nullopt;
}
inline const char *toString(ComputeType type) { return type == ComputeType::BF16 ? "bf16" : "f16"; }

constexpr int64_t rowBlock = 128;  ///< rows are padded to a multiple
constexpr int64_t tileCols = 64;   ///< columns of one tile; columns are padded to a multiple
constexpr int64_t partAlign = 256; ///< each part begins at a multiple, on the device

constexpr int64_t rowsPadded(int64_t n) { return (n + rowBlock - 1) / rowBlock * rowBlock; }
constexpr int64_t tilesOf(int64_t k) { return (k + tileCols - 1) / tileCols; }
constexpr int64_t colsPadded(int64_t k) { return tilesOf(k) * tileCols; }

/// Scales that a row and a tile have: the blocks that 64 columns of a row can touch. 0: the format
/// has none.
constexpr int64_t scalesPerTile(const WeightFormat &f, int64_t k) {
  if (f.kind == WeightFormat::Integers)
    return tileCols / f.block;
  if (f.kind != WeightFormat::Codebook)
    return 0;
  if (f.block >= tileCols)
    return k % tileCols == 0 ? 1 : 2;
  return k % f.block == 0 ? tileCols / f.block : tileCols / f.block + 1;
}

/// The block of the flat matrix [n, k] that scale `s` of a row's tile is of: the last block where
/// there are fewer.
constexpr int64_t blockOfScale(const WeightFormat &f, int64_t n, int64_t k, int64_t row,
                               int64_t tile, int64_t s) {
  const int64_t block = (row * k + tile * tileCols) / f.block + s;
  const int64_t last = (n * k - 1) / f.block;
  return block < last ? block : last;
}

/// The parts are those of panels, laid out otherwise.
inline std::string_view rowPartName(const WeightFormat &f, int part) {
  return f.kind == WeightFormat::Floats ? "rows" : partsOf(f).list[part].name;
}

/// Bytes of a part of a weight [n, k]; a vector is [n] and k is not looked at. n*k must fit int64
/// with room for a factor 2^16. Both compute types have 16 bits.
inline int64_t rowPartBytes(const WeightFormat &f, int part, int64_t n, int64_t k) {
  const FormatPart p = partsOf(f).list[part];
  const int64_t cells = rowsPadded(n) * colsPadded(k);
  switch (p.role) {
  case FormatPart::Values:
    return f.kind == WeightFormat::Vector ? n * 4 : cells * 2;
  case FormatPart::Codes:
    return cells * f.bits / 8;
  case FormatPart::Scales:
  case FormatPart::Minima:
    return tilesOf(k) * scalesPerTile(f, k) * rowsPadded(n) * traits(p.element).bytes;
  case FormatPart::Nested:
    break;
  }
  return partBytes(f, part, n, k);
}

/// What a part takes on the device, with the room to the next one.
inline int64_t rowPartRoom(int64_t bytes) {
  return (bytes + partAlign - 1) / partAlign * partAlign;
}

} // namespace lorac::formats
