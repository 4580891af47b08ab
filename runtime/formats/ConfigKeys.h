#pragma once
// The keys of config.json that every model may have and that change nothing of what is computed
// here. Keys of one architecture stand in its own file.

#include <string_view>

namespace lorac::formats {

/// Whether a dotted key is one of those, or lies under one.
bool isHarmlessConfigKey(std::string_view key);

} // namespace lorac::formats
