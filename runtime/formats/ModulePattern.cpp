#include "runtime/formats/ModulePattern.h"

#include "runtime/formats/Checked.h"

#include <algorithm>

namespace lorac::formats {
namespace {

/// Names of modules have a hundred bytes, and patterns of them few alternatives.
constexpr PcreMatcher::Limits limits = {30'000, 4096};

/// Whether the module is `name`, or ends with it behind a dot. A dot of a regular expression
/// matches any character.
bool endsWith(std::string_view module, std::string_view name, bool dotIsAny) {
  if (module.size() < name.size() ||
      (module.size() > name.size() && module[module.size() - name.size() - 1] != '.'))
    return false;
  const std::string_view tail = module.substr(module.size() - name.size());
  return std::equal(name.begin(), name.end(), tail.begin(),
                    [&](char n, char m) { return n == m || (dotIsAny && n == '.'); });
}

} // namespace

bool isPlainName(std::string_view text) {
  return text.find_first_of("*+?()[]{}|^$\\") == std::string_view::npos;
}

Result<ModulePattern> ModulePattern::compile(std::string_view text, Kind kind) {
  ModulePattern out;
  out.text = text;
  out.kind = kind;
  if (text.size() > longest)
    return Error{"it is longer than " + std::to_string(longest) + " bytes", Exit::Refused};
  if (kind == Kind::Name || (kind == Kind::Ending && isPlainName(text)))
    return out;
  size_t offset = 0;
  Result<Pcre> regex = Pcre::compile(text, &offset);
  if (!regex)
    return Error{regex.error().message + " (at character " + std::to_string(offset + 1) + ")",
                 Exit::Refused};
  out.regex = std::move(*regex);
  return out;
}

Result<bool> ModulePattern::matches(std::string_view module) const {
  if (!regex)
    return endsWith(module, text, kind == Kind::Ending);
  PcreMatcher matcher(*regex, limits);
  for (size_t from = 0;;) {
    Result<bool> found = matcher.matchesRest(module, from);
    if (!found)
      return Error{found.error().message + " at '" + shown(module) + "'", Exit::Refused};
    if (*found || kind == Kind::Whole)
      return found;
    from = module.find('.', from);
    if (from == std::string_view::npos)
      return false;
    ++from;
  }
}

} // namespace lorac::formats
