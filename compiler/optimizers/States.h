#pragma once
// What an optimizer keeps, for those who know no MLIR.

#include <string>
#include <string_view>
#include <vector>

namespace lorac::optimizers {

/// Names of its states, each one float32 a parameter; empty where none has the name.
std::vector<std::string> statesOf(std::string_view optimizer);

} // namespace lorac::optimizers
