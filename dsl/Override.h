#pragma once
// Values from outside the spec, laid over its TOML tree before it is read: so they are typed and
// checked like TOML.

#include "dsl/Parse.h"
#include "dsl/Toml.h"

namespace lorac::dsl {

/// Puts one value into the tree; errors name the flag.
void applyOverride(TomlValue &root, const Override &override, Diagnostics &diags);

} // namespace lorac::dsl
