#pragma once
// A project for an adapter that brings its own modules, ranks and scales.

#include "compiler/tools/Project.h"

#include <string>

namespace lorac::tools {

/// Whether the spec's program can hold the adapter of `adapter.init_from`: what it cannot is said
/// at that key. Exit::Done without one.
Exit checkInitFrom(const Project &project, dsl::Diagnostics &diags);

/// For `eval` and `generate --adapter`: a program of the spec's modules and ranks serves an adapter
/// that is no larger. For another one the project's adapters become those of the file, as plain
/// LoRA, and `isOther` true. Errors have been said.
Exit fitAdapter(const std::string &path, Project &project, bool &isOther);

/// For a program for text: the project's adapters become those of the file, of its own modules,
/// ranks and scales, as plain LoRA; none where `path` is "". An adapter of DoRA leaves the project
/// as it is, and `isDora` true. Errors have been said.
Exit takeAdapter(const std::string &path, Project &project, bool &isDora);

} // namespace lorac::tools
