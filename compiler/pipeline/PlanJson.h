#pragma once
// 50-planned as plan.json, what the runtime reads (docs/design.md, "The plan").

#include "dsl/Spec.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/LogicalResult.h"

#include <string>

namespace lorac {

/// The plan of a module at stage 50-planned. Fails, with a diagnostic, only where the CPU is
/// unknown.
mlir::FailureOr<std::string> planJson(mlir::ModuleOp module, const dsl::Spec &spec,
                                      const std::string &cpu);

} // namespace lorac
