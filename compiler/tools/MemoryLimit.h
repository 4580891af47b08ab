#pragma once
// What is said where a spec does not fit `[target] memory`.

#include "compiler/tools/CompileProject.h"

namespace lorac::tools {

/// The least plan needs `needed` bytes of weights, arena and scratch: says by how much that is too
/// much, and which change of one setting would fit, each of them planned. Exit::DoesNotFit.
Exit sayDoesNotFit(const Project &project, const CompileSettings &settings, uint64_t needed);

/// "batch_size = 3", "max_length = 192", …: the nearest change of each setting that fits.
std::vector<std::string> settingsThatFit(const Project &project, const CompileSettings &settings,
                                         uint64_t needed);

} // namespace lorac::tools
