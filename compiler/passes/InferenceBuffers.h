#pragma once
// What programs of inference hand to one another: hidden values, logits.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "llvm/ADT/StringSet.h"

namespace lorac::lora {

/// @hidden, @loss and @head. A step in between finds nothing that it needs, and leaves nothing.
bool isInference(mlir::func::FuncOp func);

/// Labels of io that only these use, where there is a step: it has its locals in their place.
llvm::StringSet<> inferenceBuffers(mlir::ModuleOp module);

} // namespace lorac::lora
