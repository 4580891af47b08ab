#pragma once
// Where lorac keeps what can be made again: compiled kernels and programs.

#include <string>

namespace lorac::train {

/// $LORAC_CACHE_DIR, $XDG_CACHE_HOME/lorac or ~/.cache/lorac; "" where none of them is set.
std::string cacheFolder();

} // namespace lorac::train
