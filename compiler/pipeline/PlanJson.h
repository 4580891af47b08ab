#pragma once
// 50-planned as plan.json, what the runtime reads (docs/plan.md).

#include "dsl/Spec.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/LogicalResult.h"

#include <string>
#include <vector>

namespace lorac {

/// What the plan says of the machine.
struct PlanTarget {
  std::string cpu;                ///< as `--cpu` has it, where kernels are for a CPU
  std::string compute;            ///< type of activations on a device
  std::vector<std::string> archs; ///< of a device
  mlir::ModuleOp kernels;         ///< 60-kernels of a device: threads and shared memory
  bool isCuda() const { return !archs.empty(); }
};

/// The plan of a module at stage 50-planned. Fails, with a diagnostic, where the CPU is unknown, or
/// a launch does not bring what its kernel takes.
mlir::FailureOr<std::string> planJson(mlir::ModuleOp module, const dsl::Spec &spec,
                                      const PlanTarget &target);

} // namespace lorac
