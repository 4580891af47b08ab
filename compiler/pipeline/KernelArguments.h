#pragma once
// What each kernel of a plan takes: how many buffers, of what kind, and how far into them it goes;
// how many scalars. Families of the CPU state it (codegen/cpu/ArgumentTable.h); every launch is
// held against it here, and again by the runtime, which reads it in the plan.

#include "compiler/dialect/LoraOps.h"
#include "compiler/pipeline/WeightParts.h"
#include "llvm/ADT/StringMap.h"

#include <string>
#include <vector>

namespace lorac {

/// A size: a number, the launch's rows, the samples of a micro-batch and one more, or a scalar of
/// the launch.
struct ArgumentSize {
  enum Kind { Number, Rows, Starts, Scalar } kind = Number;
  int64_t value = 0; ///< the number, or the scalar's index
};

/// A buffer: a part of a weight, or `outer` rows in the arena whose first `columns` elements are
/// used and which begin `stride` elements after each other.
struct KernelArgument {
  int64_t weightBytes = -1; ///< of a part of a weight; -1: it lies in the arena
  int64_t element = 0;      ///< bytes; 0: the family does not say how far it goes
  ArgumentSize outer, stride, columns;
};

struct KernelArguments {
  std::vector<KernelArgument> buffers;
  std::vector<int64_t> mostScalar; ///< for each; 0: no bound
};

/// By the kernel's name. Fails, with a diagnostic, at a launch that does not bring what its kernel
/// takes.
mlir::FailureOr<llvm::StringMap<KernelArguments>> kernelArguments(mlir::ModuleOp planned,
                                                                  WeightLayout layout);

} // namespace lorac
