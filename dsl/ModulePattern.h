#pragma once
// A module pattern: PEFT's rule, `(.*\.)?(PATTERN)$` against the whole path of a module.

#include <memory>
#include <optional>
#include <string>

namespace lorac::dsl {

class ModulePattern {
public:
  /// Nothing for text that is no regular expression; `error` says why.
  static std::optional<ModulePattern> compile(const std::string &text, std::string &error);

  /// Whether the module's path matches. Effort is limited: a pattern that runs away does not match.
  bool matches(const std::string &module) const;

private:
  struct Code;
  std::shared_ptr<Code> code;
};

} // namespace lorac::dsl
