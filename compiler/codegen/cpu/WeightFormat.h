#pragma once
// Storage formats of frozen weights as kernels see them (docs/design.md, "Frozen weights").

#include "compiler/dialect/LoraOps.h"

namespace lorac::cpu {

/// Rows of a panel.
constexpr int64_t panelRows = 16;

struct WeightFormat {
  lora::FormatKind kind;
  int64_t block = 0; ///< elements that share a scale; 0 where there are none
  bool doubleQuant = false;

  /// `text` is spelled as WeightType::formatName does; an error is reported at `loc`.
  static mlir::FailureOr<WeightFormat> parse(mlir::Location loc, llvm::StringRef text);

  /// The types of the parts of `W [n, k]`, in the order in which a launch passes them.
  llvm::SmallVector<mlir::MemRefType> parts(mlir::MLIRContext *context, int64_t n, int64_t k) const;
  bool isFlatBlocked() const {
    return kind == lora::FormatKind::NF4 || kind == lora::FormatKind::FP4;
  }
  bool isFourBit() const {
    return isFlatBlocked() || kind == lora::FormatKind::Q4_0 || kind == lora::FormatKind::Q4_1;
  }
  /// The value of each of the 16 codes of nf4 and fp4, before the scale.
  llvm::ArrayRef<float> codebook() const;
};

} // namespace lorac::cpu
