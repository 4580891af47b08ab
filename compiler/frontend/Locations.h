#pragma once
// Ranges of the spec as MLIR locations, and back to words.

#include "dsl/Source.h"
#include "mlir/IR/Location.h"

#include <string>

namespace lorac {

/// `name` at the range (a FileLineColRange), or `name` alone where there is no range.
mlir::Location locationOf(mlir::MLIRContext &context, const dsl::SourceRange &range,
                          llvm::StringRef name);

/// The name of a location made by locationOf, or "".
std::string nameOf(mlir::Location location);

/// `file:line:column` of a location made by locationOf, or "".
std::string placeOf(mlir::Location location);

} // namespace lorac
