#pragma once
// What the interpreter's tests share: programs from text, seeded tensors, the reverse pass of a
// function, central differences.

#include "compiler/reference/Interpreter.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"

namespace lorac::test {

/// A verified module from MLIR text, in a context of its own.
struct Program {
  mlir::MLIRContext context;
  mlir::OwningOpRef<mlir::ModuleOp> module;

  explicit Program(llvm::StringRef text); // a text that does not parse fails the test
  lora::ProgramOp function(llvm::StringRef name) {
    return module->lookupSymbol<lora::ProgramOp>(name);
  }
};

/// A row of dsl/Functions.def over `x`, as ops: its own, or those of its formula.
struct FunctionText {
  std::string ops, result;
};
FunctionText functionText(const std::string &name, const std::string &x);

/// Values spread evenly over (-scale, scale), the same for the same seed everywhere.
reference::HostTensor randomTensor(std::vector<int64_t> shape, unsigned seed, double scale = 1);

/// Runs a function; failing is a test failure and gives an empty outcome.
reference::Outcome run(lora::ProgramOp function, llvm::ArrayRef<reference::HostTensor> arguments,
                       const reference::Environment &environment);

/// Appends `<name>_backward`: the arguments of `function`, then the gradient of each result;
/// returns the gradient of each float argument (in order) and adds the params' by lora.gradient.
/// Made from the ops' own `backward`.
lora::ProgramOp reverse(lora::ProgramOp function);

/// Compares what `reverse` says about every element of every float argument and param with central
/// differences of the function under random gradients of its results: equal to 1e-6 of the tensor's
/// largest gradient.
void expectGradientsMatchDifferences(Program &program, llvm::StringRef name,
                                     std::vector<reference::HostTensor> arguments,
                                     const reference::Environment &environment);

/// Every element within `tolerance` times the largest value of `wanted`, or times `atLeast` where
/// that is more.
void expectClose(const reference::HostTensor &got, const reference::HostTensor &wanted,
                 double tolerance, const std::string &what, double atLeast = 0);

} // namespace lorac::test
