#pragma once
// The reference interpreter: runs a program of the lora dialect in float64. It is what the ops
// mean; kernels and passes are tested against it.

#include "compiler/dialect/LoraOps.h"
#include "compiler/reference/Ops.h"
#include <map>
#include <string>

namespace lorac::reference {

/// What a program finds around it. Frozen weights are dense: `[out, in]`, a norm's `[n]`, whatever
/// their storage format.
struct Environment {
  std::map<std::string, HostTensor> symbols; ///< by the name of the `lora.frozen` or `lora.param`
  double lossScale = 1;                      ///< 1 / labels of the accumulation window
  DropoutKey dropout{};
  /// What outlives a run of a program for text: by the attention's `cache`, then by sequence. Null:
  /// the program has no `lora.cached_attention`.
  std::map<int64_t, std::vector<CachedSequence>> *cache = nullptr;
};

struct Outcome {
  std::vector<HostTensor> results;
  std::map<std::string, HostTensor> gradients; ///< what `lora.gradient` added, by symbol
  std::map<std::string, HostTensor> set;       ///< what `lora.set` gave, by symbol
};

/// Runs `function` (one block, ops up to 40-fused). `?` dimensions take the arguments' sizes. On
/// failure the user has been told, at the op: a missing symbol, a shape that does not fit its type,
/// an op that has no meaning here, an index out of range.
mlir::FailureOr<Outcome> interpret(lora::ProgramOp function, llvm::ArrayRef<HostTensor> arguments,
                                   const Environment &environment);

} // namespace lorac::reference
