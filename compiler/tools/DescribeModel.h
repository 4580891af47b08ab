#pragma once
// What a model is, in a few lines: for those who have one and no spec yet.

#include "runtime/Result.h"

#include <string>

namespace lorac::tools {

/// Prints the architecture of a GGUF file or a Hugging Face folder, its tensors by type and its
/// tokenizer. What lorac cannot train is said on stderr, and the rest is printed all the same.
Exit describeModel(const std::string &path, bool asJson);

} // namespace lorac::tools
