#pragma once
// The plan for people: plan.md.

#include "compiler/pipeline/WeightParts.h"
#include "dsl/Spec.h"
#include "mlir/IR/BuiltinOps.h"

#include <string>

namespace lorac {

/// Memory by what it is for, and the work of a step by kernel, as Markdown. `module` is at stage
/// 50-planned.
std::string planReport(mlir::ModuleOp module, const dsl::Spec &spec, WeightLayout layout);

} // namespace lorac
