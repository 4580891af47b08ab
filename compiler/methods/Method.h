#pragma once
// What the compiler knows of a method of adapting a linear: how it is called, its parameters, what
// stands in the linear's place, its programs beside the model's (docs/adding.md).

#include "compiler/methods/Site.h"

namespace lorac::methods {

struct Method {
  llvm::StringRef name; ///< its word in a `lora.adapter`
  /// Declares the parameters of an adapter and gives what takes the place of the linear's result.
  mlir::Value (*rewrite)(Site &site);
  /// Adds what concerns all of the method's adapters together, once they are attached; null:
  /// nothing does.
  void (*addPrograms)(mlir::ModuleOp module);
};

/// In the order of Methods.def.
llvm::ArrayRef<const Method *> allMethods();
/// Of an adapter: the one that it names; else AdaLoRA where its rank falls, else LoRA. Null where
/// none has the name.
const Method *methodOf(lora::AdapterOp adapter);

} // namespace lorac::methods
