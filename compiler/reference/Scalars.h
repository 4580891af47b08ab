#pragma once
// The arith and math ops that may stand in the body of a lora.map.

#include "mlir/IR/Operation.h"
#include <optional>

namespace lorac::reference {

/// The value of one scalar (or elementwise) op on these operands; nothing, where the reference does
/// not know the op. What compares is 1 where it holds, else 0.
std::optional<double> evaluateScalar(mlir::Operation *op, llvm::ArrayRef<double> operands);

} // namespace lorac::reference
