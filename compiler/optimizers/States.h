#pragma once
// What an optimizer keeps, for those who know no MLIR.

#include "dsl/Spec.h"

#include <cstdint>
#include <string>
#include <vector>

namespace lorac::optimizers {

/// Names of the regions of its states. Where a state lies in 8 bits there are three: its codes,
/// their absmax, and float32 of small parameters.
std::vector<std::string> stateRegions(const dsl::OptimizerSpec &optimizer);

/// Bytes of all states of a parameter of this shape. `codesOfAll`: some parameter has states of 8
/// bits, so that each has a byte in the region of codes.
int64_t stateBytes(const dsl::OptimizerSpec &optimizer, const std::vector<int64_t> &shape,
                   bool codesOfAll);

} // namespace lorac::optimizers
