#pragma once
// Regular expressions, run by PCRE2 under limits. Pcre.cpp is the only file that includes PCRE2.

#include "runtime/Result.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace lorac {

/// A compiled pattern. It is UTF-8; its classes are Unicode's; `^` and `$` match at lines; there is
/// no `\C`. Immutable and shared between copies; usable from several threads, each with its own
/// PcreMatcher.
class Pcre {
public:
  /// The error has PCRE2's words alone. `offset`: the byte of the pattern that they are about.
  static Result<Pcre> compile(std::string_view pattern, size_t *offset = nullptr);

private:
  friend class PcreMatcher;
  struct Code;
  std::shared_ptr<const Code> code;
};

/// Matches one pattern against one subject after another.
class PcreMatcher {
public:
  /// What one match may take: steps of backtracking, and memory for them.
  struct Limits {
    uint64_t steps, kibibytes;
  };
  PcreMatcher(const Pcre &pattern, Limits limits);
  ~PcreMatcher();
  PcreMatcher(const PcreMatcher &) = delete;
  PcreMatcher &operator=(const PcreMatcher &) = delete;

  /// The first match that begins at byte `from` or behind, as its two ends; false: there is none.
  /// `subject` is well-formed UTF-8. The error, in PCRE2's words: the limits do not suffice.
  Result<bool> find(std::string_view subject, size_t from, size_t &begin, size_t &end);

  /// Whether all that stands from byte `from` on is one match. The error: as of `find`, or the
  /// subject is not UTF-8.
  Result<bool> matchesRest(std::string_view subject, size_t from);

private:
  std::shared_ptr<const Pcre::Code> code;
  struct State;
  std::unique_ptr<State> state;
};

} // namespace lorac
