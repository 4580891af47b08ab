#pragma once
// The `lora` dialect: its types, interfaces and ops. docs/dialect.md is generated from the .td
// files.

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "llvm/ADT/Hashing.h"

#include "runtime/formats/WeightFormat.h"

namespace lorac::formats {
/// A weight's type holds its format, and types are told apart by their hash first.
inline llvm::hash_code hash_value(const WeightFormat &f) {
  return llvm::hash_combine(f.kind, f.element, f.bits, f.block, f.minima, f.codebook,
                            f.doubleQuant);
}
} // namespace lorac::formats

#include "compiler/dialect/LoraDialect.h.inc"
#include "compiler/dialect/LoraEnums.h.inc"
#include "compiler/dialect/LoraInterfaces.h.inc"
#define GET_TYPEDEF_CLASSES
#include "compiler/dialect/LoraTypes.h.inc"
#define GET_OP_CLASSES
#include "compiler/dialect/LoraOps.h.inc"

namespace lorac::lora {

/// Whether a region holds codes of 8 bits, whose blocks have their absmax in another.
inline bool isCode(Storage storage) {
  return storage == Storage::DynamicSigned || storage == Storage::DynamicUnsigned;
}
/// Numbers of rows, columns or parameters: where those lie says the table of LoracMatrix.
inline bool isOfLines(Storage storage) {
  return storage == Storage::Rows || storage == Storage::Columns || storage == Storage::Parameters;
}

/// Leading dimension of an activation with `n` columns, in floats (docs/plan.md,
/// "Activations").
inline int64_t leadingDimension(int64_t n) { return (n + 15) / 16 * 16; }

/// Elements a token: the product of all dimensions but the first.
int64_t columns(mlir::RankedTensorType type);

/// The module's only op of a kind (`lora.model`, `lora.limits`, `lora.arena`); null: it has none.
template <typename Op>
Op findOnly(mlir::ModuleOp module) {
  auto ops = module.getOps<Op>();
  return ops.empty() ? Op() : *ops.begin();
}

/// The dialects that lorac's own modules use before kernels are generated.
void registerLoraDialects(mlir::DialectRegistry &registry);

} // namespace lorac::lora
