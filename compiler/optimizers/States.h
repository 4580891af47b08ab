#pragma once
// What an optimizer keeps, for those who know no MLIR.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::optimizers {

/// Names of the regions of its states; empty where none has the name. Where a state lies in 8 bits
/// there are three: its codes, their absmax, and float32 of small parameters.
std::vector<std::string> stateRegions(std::string_view optimizer);

/// Bytes of all states of a parameter of so many elements. `min8bitSize`: from so many on it has 8
/// bits; `codesOfAll`: some parameter has, so that each has a byte in the region of codes.
int64_t stateBytes(std::string_view optimizer, int64_t elements, int64_t min8bitSize,
                   bool codesOfAll);

} // namespace lorac::optimizers
