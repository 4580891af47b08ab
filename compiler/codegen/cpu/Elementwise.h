#pragma once
// A kernel's body, an elementwise function, on vectors: all of a `map`, the epilogue of a product.

#include "compiler/codegen/cpu/KernelBuilder.h"

namespace lorac::cpu {

/// Its buffers are activations: all inputs, then all outputs (params `ins`, `outs`, `lds`).
class Elementwise {
public:
  /// `first` is the number of its first buffer in the kernel.
  Elementwise(lora::KernelOp kernel, unsigned first) : kernel(kernel), first(first) {}

  /// Whether the kernel has a body.
  explicit operator bool() { return !kernel.getBody().empty(); }
  llvm::SmallVector<mlir::MemRefType> buffers();
  /// An error names the op of the body that has no vector form.
  mlir::LogicalResult check();
  /// Applies it to one vector of a row.
  void build(KernelBuilder &k, mlir::Value row, mlir::Value column);

private:
  lora::KernelOp kernel;
  unsigned first;
};

} // namespace lorac::cpu
