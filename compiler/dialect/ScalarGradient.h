#pragma once
// Reverse mode over the body of a lora.map.

#include "mlir/IR/Builders.h"

namespace lorac::lora {

/// Whether each op of the body has a rule: arith add, sub, mul, div, neg, select, constants and the
/// functions of dsl/Functions.def; a comparison needs none. An error at the first one that has
/// none.
llvm::LogicalResult checkScalars(mlir::Block &body);

/// Emits the body again over `arguments`, then its reverse pass; `seeds` are the gradients of the
/// yielded values (null: none). Returns one f32 for each block argument (a zero where nothing
/// reaches it). `checkScalars` has passed the body.
llvm::SmallVector<mlir::Value> differentiateScalars(mlir::OpBuilder &builder, mlir::Location loc,
                                                    mlir::Block &body, mlir::ValueRange arguments,
                                                    mlir::ValueRange seeds);

/// For a body of one argument and one result: emits the body over `argument`, its derivative, and a
/// yield of both.
void withDerivative(mlir::OpBuilder &builder, mlir::Location loc, mlir::Block &body,
                    mlir::Value argument);

} // namespace lorac::lora
