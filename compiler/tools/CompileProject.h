#pragma once
// The compiler as the commands use it: a project in, files out, every message said.

#include "compiler/tools/Driver.h"

#include <map>
#include <string>
#include <vector>

namespace lorac::tools {

struct CompileSettings {
  std::string cpu;                ///< empty: the one at hand
  std::vector<std::string> archs; ///< not empty: kernels for CUDA instead of the CPU's
  bool kernels = true;            ///< false: only as far as the plan
};

/// Runs the pipeline; `files` are those of generated/<spec>/, with run.json. Exit::Done only if
/// they are whole; DoesNotFit when the plan needs more than `[target] memory`, with `files` as far
/// as the plan.
Exit compileProject(const Project &project, const CompileSettings &settings,
                    std::map<std::string, std::string> &files);

/// The settings of a command: `--target`, `--arch` and the spec's [target] table.
CompileSettings settingsFor(const CompileOptions &options, const dsl::Spec &spec);

/// generated/<spec>, or what `-o` says.
std::string generatedFolder(const CompileOptions &options, const dsl::Spec &spec);

/// Loads, compiles and writes the folder, the training binary included.
Exit compileToFolder(const CompileOptions &options, Project &project, std::string &folder,
                     std::map<std::string, std::string> &files);

} // namespace lorac::tools
