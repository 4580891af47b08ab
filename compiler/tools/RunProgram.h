#pragma once
// `train`, `eval` and `generate`: compile, then become the generated binary.

#include "compiler/tools/Command.h"

#include <vector>

namespace lorac::tools {

/// The words of such a command: those of `compile`, and `flags`, which are handed on behind `mode`
/// ("--eval"; "": none). `required`: the flag that must be there; null: none.
Action addRun(CLI::App &app, const char *mode, const std::vector<ForwardedFlag> &flags,
              const char *required = nullptr);

} // namespace lorac::tools
