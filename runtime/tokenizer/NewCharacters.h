#pragma once
// Characters that Unicode has gained after version 14, which is PCRE2 10.42's: the incumbents'
// regex engines know version 16.

#include <string>
#include <string_view>

namespace lorac::tok {

/// The new characters of a general category ("L", "Lu", ...) as ranges for a PCRE2 class, possibly
/// none.
std::string newCharactersOf(std::string_view category);

} // namespace lorac::tok
