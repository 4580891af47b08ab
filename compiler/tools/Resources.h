#pragma once
// What lorac needs besides itself, and where it is: beside the executable first, so that a build
// folder and an installation can be moved; then where the build found it; then the search path.

#include "runtime/Result.h"

#include <string>
#include <vector>

namespace lorac::tools {

/// The folder that holds this executable.
std::string executableFolder();

/// The prebuilt training executable that payloads are appended to: $LORAC_TRAIN, then beside lorac.
Result<std::string> trainRuntime();

/// ld.lld of the LLVM that lorac was built with: $LORAC_LLD, beside lorac, the build's, then the
/// search path.
Result<std::string> linker();

/// Folders with architecture files for a spec, nearest first: beside the spec, in the working
/// folder, in the source tree of a build folder, in an installation. Only those that exist.
std::vector<std::string> architectureFolders(const std::string &specPath);

/// $LORAC_CACHE_DIR, else lorac's folder under XDG's cache directory. Not created.
std::string cacheFolder();

/// The first executable file of this name on the search path, or "".
std::string onPath(const std::string &name);

} // namespace lorac::tools
