#pragma once
// What a step does after the gradients, for both targets.

#include "dsl/Spec.h"
#include "mlir/Pass/PassManager.h"

namespace lorac {

/// The passes that append the optimizer's programs and AdaLoRA's; `device` is "cpu" or "cuda".
/// After SelectKernels.
void addUpdatePrograms(mlir::PassManager &pm, const dsl::Spec &spec, const std::string &device);

} // namespace lorac
