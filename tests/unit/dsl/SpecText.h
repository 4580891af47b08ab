#pragma once
// Specs for the tests: a good one, and the messages about a bad one.

#include "dsl/Check.h"
#include "dsl/Parse.h"

#include <sstream>
#include <string>
#include <vector>

namespace lorac::dsl::test {

inline const char *const Model = "[model]\nsource = 'm.gguf'\n";
inline const char *const Data = "[[data]]\npath = 'd.txt'\n";
inline const char *const Train = "[train]\nsteps = 20\n";

/// A good spec of six lines, then `more` from line 7 on.
inline std::string good(const std::string &more = "") {
  return std::string(Model) + Data + Train + more;
}

inline Spec parse(const std::string &text, Diagnostics &diags,
                  const std::vector<std::string> &flags = {}) {
  std::vector<Override> overrides;
  for (const std::string &flag : flags)
    if (std::optional<Override> override = parseOverride(flag, diags))
      overrides.push_back(*override);
  return parseSpec("a.toml", text, overrides, diags);
}

/// The first lines of all messages, without the file's name: `7:5: error: …`.
inline std::vector<std::string> messages(const Diagnostics &diags) {
  std::vector<std::string> out;
  std::istringstream lines(diags.text());
  for (std::string line; std::getline(lines, line);)
    if (line.find(": error: ") != std::string::npos ||
        line.find(": warning: ") != std::string::npos)
      out.push_back(line.starts_with("a.toml:") ? line.substr(7) : line);
  return out;
}

inline std::vector<std::string> messages(const std::string &text,
                                         const std::vector<std::string> &flags = {}) {
  Diagnostics diags;
  parse(text, diags, flags);
  return messages(diags);
}

} // namespace lorac::dsl::test
