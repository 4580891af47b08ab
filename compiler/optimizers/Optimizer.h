#pragma once
// What the compiler knows of an optimizer: how it is called, its states, one element's update. The
// regions of the arena, the memory plan, checkpoints and what falls with AdaLoRA's ranks follow
// from it (docs/design.md, "A step is programs"; docs/adding.md).

#include "compiler/dialect/LoraOps.h"
#include "compiler/optimizers/Steps.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace lorac::optimizers {

/// A number of each element of each parameter, zero at first, that the update reads as float32.
struct State {
  /// Of its region and, before ".<parameter>", of its tensors in a checkpoint.
  llvm::StringRef name;
  /// What it lies in; of codes only where the parameter has `min_8bit_size` elements, else float32.
  /// `Rows` and `Columns`: one number of each row or column of each parameter.
  lora::Storage storage = lora::Storage::Floats;
  /// There only where this key is not 0.
  double Keys::*needs = nullptr;
};

struct Optimizer {
  llvm::StringRef name; ///< its word in a spec
  llvm::ArrayRef<State> states;
  /// Writes one element's update; ends with Update::give.
  void (*update)(Update &u);
  /// In its place where once over the parameters is not enough.
  void (*steps)(Steps &steps) = nullptr;
};

/// In the order of dsl/Optimizers.def.
llvm::ArrayRef<const Optimizer *> allOptimizers();
/// Null where none has the name.
const Optimizer *findOptimizer(llvm::StringRef name);
/// Its states with these keys.
std::vector<State> statesOf(const Optimizer &optimizer, const Keys &keys);

} // namespace lorac::optimizers
