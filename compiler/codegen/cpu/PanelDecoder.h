#pragma once
// Decodes the packed panels of a frozen weight to f32, 16 rows of one column at a time.

#include "compiler/codegen/cpu/KernelBuilder.h"
#include "runtime/formats/PackedLayout.h"

namespace lorac::cpu {

using formats::panelRows;
using formats::WeightFormat;

/// The format of a matrix, as a kernel's parameter spells it; an error is reported at `loc`.
mlir::FailureOr<WeightFormat> parseFormat(mlir::Location loc, llvm::StringRef text);

/// The types of the parts of `W [n, k]`, in the order in which a launch passes them.
llvm::SmallVector<mlir::MemRefType> weightParts(mlir::MLIRContext *context,
                                                const WeightFormat &format, int64_t n, int64_t k);

/// `W [n, k]` in a storage format. Use: loadScales for a panel and a range of columns, then decode
/// any of its columns. Scales stand in scratch as `[group][16]`, a group being `groupSize` columns
/// from the range's start.
class PanelDecoder {
public:
  /// The parts are buffers `firstPart…` of the kernel. `columns` bounds the ranges that are asked
  /// for; they start at multiples of `alignment`. `scratchOffset`: scratchBytes() bytes of the
  /// worker's scratch.
  PanelDecoder(KernelBuilder &k, const WeightFormat &format, int64_t n, int64_t columnsOfW,
               unsigned firstPart, int64_t columns, int64_t alignment, int64_t scratchOffset);
  static int64_t scratchBytes(const WeightFormat &format, int64_t columnsOfW, int64_t columns,
                              int64_t alignment);
  /// Columns that share a scale, counted from the range's start: a divisor of `alignment`, block
  /// and k.
  static int64_t groupSize(const WeightFormat &format, int64_t columnsOfW, int64_t alignment);
  int64_t groupSize() const { return group; }

  /// Fills the scales of columns `[from, to)` of a panel. Rows beyond n get scale 0.
  void loadScales(mlir::Value panel, mlir::Value from, mlir::Value to);
  /// Scale (and offset) vectors of a group of the range; empty for formats without scales.
  struct Scales {
    KernelBuilder::Values scale, offset;
  };
  Scales scales(mlir::Value groupIndex);
  /// The 16 rows of column `kk` as 16 / lanes vectors.
  KernelBuilder::Values decode(mlir::Value panel, mlir::Value kk, const Scales &scales);

private:
  mlir::Value ofBlock(unsigned part, mlir::Value row, mlir::Value column);
  mlir::Value scaleAt(mlir::Value row, mlir::Value column);
  KernelBuilder::Values nibbles(mlir::Value panel, mlir::Value kk);
  mlir::Value lookUp(mlir::Value codes);

  KernelBuilder &k;
  WeightFormat format;
  int64_t n, columnsOfW, group;
  unsigned firstPart;
  mlir::Value scaleMemory, offsetMemory;
};

} // namespace lorac::cpu
