// What Differentiate asks of an op.
#ifndef LORA_INTERFACES_TD
#define LORA_INTERFACES_TD

include "mlir/IR/OpBase.td"

def Lora_DifferentiableOp : OpInterface<"DifferentiableOp"> {
  let cppNamespace = "::lorac::lora";
  let description = [{
    An op that knows its gradient. `backward` is called with the gradients of its results (null where none arrives) and
    for each operand whether one is wanted; it returns one value an operand, null where none was wanted.
  }];
  let methods = [InterfaceMethod<"Emits the ops of the backward pass at the builder's place.",
      "::llvm::SmallVector<::mlir::Value>", "backward",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$resultGradients, "::llvm::ArrayRef<bool>":$wanted)>];
}

#endif
