#pragma once
// How what is trained lies in the arena, as compiler and runtime both count it.

#include <cstdint>

namespace lorac::formats {

/// Floats of the regions of parameters that one tile or block of a kernel over elements takes, at
/// most: a span.
inline constexpr int64_t spanFloats = 4096;

/// A state in 8 bits has two more regions, called as that of the codes with a suffix: the absmax of
/// its blocks, and float32 of the parameters that have no codes.
inline constexpr const char *absmaxSuffix = "_absmax", *compactSuffix = "_compact";

/// The state that holds the parameters as they were when the run began (L2-SP).
inline constexpr const char *startRegion = "start";

} // namespace lorac::formats
