#pragma once
// What stands beside the weights of a Hugging Face folder.

#include "runtime/Result.h"
#include "runtime/formats/FolderManifest.h"

#include <string>

namespace lorac::tools {

/// Copies the tokenizer, its chat template and what generation takes, as far as the folder `base`
/// has them, and notes their hashes.
Result<void> copyCompanions(const std::string &base, const std::string &folder,
                            formats::FolderManifest &manifest);

} // namespace lorac::tools
