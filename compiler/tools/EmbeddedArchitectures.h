#pragma once
// Architecture files that lorac carries for when none is on disk; made from specs/architectures/ at
// build time.

#include <string_view>

namespace lorac::tools {

extern const std::string_view llamaArchitecture;

} // namespace lorac::tools
