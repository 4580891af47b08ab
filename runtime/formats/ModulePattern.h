#pragma once
// How PEFT names modules: in a spec as in adapter_config.json.

#include "runtime/Result.h"
#include "runtime/regex/Pcre.h"

#include <optional>
#include <string>
#include <string_view>

namespace lorac::formats {

class ModulePattern {
public:
  enum class Kind {
    Name,   ///< an entry of a list: the module's whole name, or its end behind a dot
    Whole,  ///< a string in place of a list: a regular expression that matches the whole name
    Ending, ///< a key of rank_pattern or alpha_pattern: one of the whole name or its end behind a
            ///< dot
  };
  static constexpr size_t longest = 4096;

  /// The error has no pattern in it: "missing closing parenthesis (at character 8)".
  static Result<ModulePattern> compile(std::string_view text, Kind kind);

  /// Whether the module is named. An error where the effort that this takes is out of proportion:
  /// it says so, without the pattern.
  Result<bool> matches(std::string_view module) const;

  /// Whether PCRE2 has to be asked; else it is a comparison of texts.
  bool isRegex() const { return regex.has_value(); }

private:
  std::string text;
  Kind kind = Kind::Name;
  std::optional<Pcre> regex;
};

/// Whether a text says the same as a name and as a regular expression, but for dots.
bool isPlainName(std::string_view text);

} // namespace lorac::formats
