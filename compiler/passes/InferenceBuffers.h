#pragma once
// What programs of inference hand to one another: hidden values, logits.

#include "compiler/dialect/LoraOps.h"
#include "llvm/ADT/StringSet.h"

namespace lorac::lora {

/// Labels of io that only programs of inference use, where there is a step: it has its locals in
/// their place.
llvm::StringSet<> inferenceBuffers(mlir::ModuleOp module);

} // namespace lorac::lora
