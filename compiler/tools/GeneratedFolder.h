#pragma once
// The folder of one compiled spec: dumps, kernels, plan and binary. Written aside as a whole, then
// put in place, so that there is never half of one. Its manifest.json lists each file with its
// hash: a folder that holds anything else, or a file that was changed since, is left alone.

#include "runtime/Result.h"

#include <functional>
#include <map>
#include <string>

namespace lorac::tools {

/// Writes `files` (names may hold one folder: "kernels/x.mlir") as the new content of `folder`.
/// `finish` gets the folder that is still aside and may add to it. On an error `folder` is as it
/// was.
Result<void> writeGenerated(const std::string &folder,
                            const std::map<std::string, std::string> &files,
                            const std::function<Result<void>(const std::string &aside)> &finish);

/// Whether lorac writes a file or folder of this name into a generated folder.
bool isGeneratedName(const std::string &name);

} // namespace lorac::tools
