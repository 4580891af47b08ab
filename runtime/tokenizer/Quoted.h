#pragma once
// Names and texts of foreign files in messages.

#include "runtime/formats/Checked.h"

namespace lorac::tok {

/// In quotes, with what is not plain escaped, and cut where it is long.
inline std::string quoted(std::string_view text) { return "'" + formats::shown(text) + "'"; }

} // namespace lorac::tok
