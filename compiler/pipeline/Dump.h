#pragma once
// A stage as text.

#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace lorac {

/// The module as MLIR text with locations, the same bytes on every machine; it parses again.
std::string dumpText(mlir::ModuleOp module);

} // namespace lorac
