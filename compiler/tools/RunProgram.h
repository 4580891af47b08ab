#pragma once
// `train`, `eval` and `generate`: compile, then become the generated binary.

#include "compiler/tools/Command.h"

#include <vector>

namespace lorac::tools {

/// What `eval` and `generate` have in common.
inline constexpr ForwardedFlag adapterFlag = {"--adapter", "DIR",
                                              "an adapter in PEFT's layout [none: the base alone]"};
inline constexpr ForwardedFlag jsonFlag = {"--json", nullptr, "print JSON"};

/// The words of such a command: those of `compile`, and `flags`, which are handed on behind `mode`
/// ("--eval"; "": none). `required`: the flag that must be there; null: none. `addMore` declares
/// what else decides on the program.
Action addRun(CLI::App &app, const char *mode, const std::vector<ForwardedFlag> &flags,
              const char *required = nullptr,
              void (*addMore)(CLI::App &app, CompileOptions &compile) = nullptr);

} // namespace lorac::tools
