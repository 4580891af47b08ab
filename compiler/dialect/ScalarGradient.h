#pragma once
// Reverse mode over the body of a lora.map.

#include "mlir/IR/Builders.h"

namespace lorac::lora {

/// Emits the body again over `arguments`, then its reverse pass; `seeds` are the gradients of the
/// yielded values (null: none). Returns one f32 for each block argument (a zero where nothing
/// reaches it). Knows arith add, sub, mul, div, neg and math exp; any other op is a bug of ours:
/// ImportSpec emits no other.
llvm::SmallVector<mlir::Value> differentiateScalars(mlir::OpBuilder &builder, mlir::Location loc,
                                                    mlir::Block &body, mlir::ValueRange arguments,
                                                    mlir::ValueRange seeds);

} // namespace lorac::lora
