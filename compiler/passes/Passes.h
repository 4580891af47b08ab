#pragma once
// The passes of lorac; Passes.td says what each does.

#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Pass/Pass.h"

namespace lorac::lora {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION // registerLoraPasses(), for lorac-opt
#include "compiler/passes/Passes.h.inc"

} // namespace lorac::lora
