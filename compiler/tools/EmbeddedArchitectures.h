#pragma once
// The architecture files that lorac carries: all of specs/architectures/, as they were at build
// time.

#include <span>
#include <string_view>

namespace lorac::tools {

struct EmbeddedArchitecture {
  std::string_view name, text; ///< llama.toml
};

std::span<const EmbeddedArchitecture> embeddedArchitectures();

} // namespace lorac::tools
