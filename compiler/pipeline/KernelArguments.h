#pragma once
// What each kernel of a plan takes: how many buffers, of what kind, and how far into them it goes;
// how many scalars. Families of the CPU state it (codegen/cpu/ArgumentTable.h); every launch is
// held against it here, and again by the runtime, which reads it in the plan.

#include "compiler/dialect/LoraOps.h"
#include "compiler/pipeline/WeightParts.h"
#include "runtime/train/Plan.h"
#include "llvm/ADT/StringMap.h"

#include <vector>

namespace lorac {

struct KernelArguments {
  std::vector<train::PlanBuffer> buffers;
  std::vector<int64_t> mostScalar; ///< for each; 0: no bound
};

/// By the kernel's name. Fails, with a diagnostic, at a launch that does not bring what its kernel
/// takes.
mlir::FailureOr<llvm::StringMap<KernelArguments>> kernelArguments(mlir::ModuleOp planned,
                                                                  WeightLayout layout);

} // namespace lorac
