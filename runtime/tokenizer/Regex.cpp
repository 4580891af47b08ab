#include "runtime/tokenizer/Regex.h"

#include "runtime/tokenizer/Quoted.h"
#include "runtime/tokenizer/RegexSyntax.h"
#include "runtime/tokenizer/Utf8.h"

#include <algorithm>

namespace lorac::tok {
namespace {

constexpr size_t longestPattern = 1u << 16;

/// Kibibytes: backtracking frames of a few hundred bytes a character are normal.
PcreMatcher::Limits limitsFor(size_t bytes) { return {2'000'000 + 64 * bytes, 16384 + bytes / 2}; }

} // namespace

struct Regex::Code {
  std::string source;
  Pcre compiled;
};

const std::string &Regex::pattern() const { return code->source; }

Result<Regex> Regex::compile(std::string_view pattern) {
  auto fail = [&](const std::string &why) {
    return Error{"pattern " + quoted(pattern) + ": " + why, Exit::ForeignFile};
  };
  if (pattern.size() > longestPattern)
    return fail("longer than " + std::to_string(longestPattern) + " bytes");
  if (firstInvalidUtf8(pattern))
    return fail("not UTF-8");
  auto translated = toPcre(pattern);
  if (!translated)
    return fail(translated.error().message);
  Result<Pcre> compiled = Pcre::compile(*translated);
  if (!compiled)
    return fail(compiled.error().message);
  Regex regex;
  regex.code = std::make_shared<Code>(Code{std::string(pattern), std::move(*compiled)});
  return regex;
}

Searcher::Searcher(const Regex &regex, size_t bytes)
    : code(regex.code), matcher(code->compiled, limitsFor(bytes)) {}

void Searcher::start(std::string_view text) {
  subject = text;
  from = 0;
  lastEnd = 0;
  matched = false;
}

Result<bool> Searcher::next(Span &span) {
  while (from <= subject.size()) {
    size_t begin = 0, end = 0;
    Result<bool> found = matcher.find(subject, from, begin, end);
    if (!found)
      return Error{"pattern " + quoted(code->source) + " fails at byte " + std::to_string(from) +
                       " of a piece of " + std::to_string(subject.size()) +
                       " bytes: " + found.error().message + "; it backtracks too much",
                   Exit::ForeignFile};
    if (!*found)
      return false;
    span.begin = std::max(begin, lastEnd); // \K could set it back
    span.end = std::max(end, span.begin);
    bool repeated = matched && span.begin == span.end && span.begin == lastEnd;
    if (span.begin < span.end)
      from = span.end;
    else
      from = span.end < subject.size()
                 ? span.end + characterBytes(static_cast<unsigned char>(subject[span.end]))
                 : subject.size() + 1;
    if (repeated)
      continue;
    lastEnd = span.end;
    matched = true;
    return true;
  }
  return false;
}

} // namespace lorac::tok
