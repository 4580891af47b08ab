#pragma once
// Replacement of a pattern, for normalizers and decoders.

#include "runtime/tokenizer/Components.h"

namespace lorac::tok {

/// Every match of `pattern` in `text` replaced by `content`, taken literally.
Result<std::string> replaceAll(const Pattern &pattern, std::string_view content,
                               std::string_view text);

} // namespace lorac::tok
