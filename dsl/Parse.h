#pragma once
// TOML text -> Spec: keys, types and words; then Check.h for what the values mean.

#include "dsl/Diagnostics.h"
#include "dsl/Spec.h"

#include <functional>
#include <optional>

namespace lorac::dsl {

/// One value from outside the spec: `adapter.r` = `8`. The value is TOML; a bare word is a string.
/// `data.0.path` and `data.fortunes.path` name one [[data]] table; `data.path` does when there is
/// only one.
struct Override {
  std::string key;
  std::string value;
  Origin origin = Origin::Flag;
  std::string shown; ///< how messages name it: "--set adapter.r=8", "LORAC_ADAPTER_R"
};

/// "adapter.r=8" of a `--set` flag.
std::optional<Override> parseOverride(const std::string &flag, Diagnostics &diags);

/// A key that holds one value outside [[tables]], and the variable that overrides it: LORAC_, the
/// table and the key in capitals.
struct EnvironmentKey {
  std::string key, name;
};
std::vector<EnvironmentKey> environmentKeys();

/// LORAC_ADAPTER_R=8 and the like. `get` is getenv, or a test's.
std::vector<Override> environmentOverrides(const std::function<const char *(const char *)> &get);

/// Parses and checks (Check.h: checkSpec); every error is in `diags`, and the Spec is usable only
/// if there is none. Later overrides win over earlier ones: pass the environment's first, then
/// flags. `path` names the spec in messages and is what its relative paths start from.
Spec parseSpec(const std::string &path, std::string text, const std::vector<Override> &overrides,
               Diagnostics &diags);

/// The same for a file.
Spec loadSpec(const std::string &path, const std::vector<Override> &overrides, Diagnostics &diags);

} // namespace lorac::dsl
