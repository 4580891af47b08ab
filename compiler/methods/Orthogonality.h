#pragma once
// The term of the loss that keeps the rows of A and the columns of B orthogonal.

#include "compiler/methods/Method.h"

namespace lorac::methods {

/// Adds @regularize: once a step, weight · mean over all A and B of ‖A·Aᵀ - I‖ and ‖Bᵀ·B - I‖
/// (PEFT, tuners/adalora/model.py). The mean is over all adapters of the spec, also those that no
/// rank is left of. `whole`: I is whole, also where a triplet is zero.
void addOrthogonality(mlir::ModuleOp module, double weight, bool whole);

/// Method::addPrograms of LoRA and DoRA: the term that `lora.orthogonality` asks for.
void addAskedOrthogonality(mlir::ModuleOp module);

} // namespace lorac::methods
