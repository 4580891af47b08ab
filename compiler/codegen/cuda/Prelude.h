#pragma once
// The functions that printed kernels call: one an instruction of PTX that CUDA C++ has no word for.

#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/StringSet.h"

#include <string>

namespace lorac::cuda {

/// The definitions of the functions named in `used` (and of those that they call), in a fixed
/// order. Asserts that all are known.
std::string prelude(const llvm::StringSet<> &used);

} // namespace lorac::cuda
