#pragma once
// A pattern of a tokenizer file, in the dialect of those files.

#include "runtime/Result.h"
#include "runtime/regex/Pcre.h"

#include <memory>
#include <string>
#include <string_view>

namespace lorac::tok {

/// Immutable and shared between copies; usable from several threads, each with its own Searcher.
class Regex {
public:
  /// `pattern` is UTF-8 in Oniguruma's syntax. The error's message has the pattern.
  static Result<Regex> compile(std::string_view pattern);

  const std::string &pattern() const;

private:
  friend class Searcher;
  struct Code;
  std::shared_ptr<const Code> code;
};

/// Half-open byte range.
struct Span {
  size_t begin = 0;
  size_t end = 0;
  bool operator==(const Span &) const = default;
};

/// The matches of a pattern in a subject, in order and without overlap; an empty match right behind
/// a match is passed over. One searcher serves many subjects, one after another.
class Searcher {
public:
  /// `bytes`: the size of all subjects together, which the limit of steps grows with.
  Searcher(const Regex &regex, size_t bytes);

  /// `text` is well-formed UTF-8 and outlives the search.
  void start(std::string_view text);

  /// The next match into `span`; false at the end. An error where the pattern needs more steps than
  /// the limit.
  Result<bool> next(Span &span);

private:
  std::shared_ptr<const Regex::Code> code;
  PcreMatcher matcher;
  std::string_view subject;
  size_t from = 0;
  size_t lastEnd = 0;
  bool matched = false;
};

} // namespace lorac::tok
