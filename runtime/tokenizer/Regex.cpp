#include "runtime/tokenizer/Regex.h"

#include "runtime/tokenizer/Quoted.h"
#include "runtime/tokenizer/RegexSyntax.h"
#include "runtime/tokenizer/Utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace lorac::tok {
namespace {

constexpr size_t longestPattern = 1u << 16;

PCRE2_SPTR bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

std::string pcreMessage(int code) {
  PCRE2_UCHAR text[160];
  pcre2_get_error_message(code, text, sizeof text);
  return reinterpret_cast<const char *>(text);
}

} // namespace

struct Regex::Code {
  std::string source;
  pcre2_code *compiled = nullptr;

  ~Code() { pcre2_code_free(compiled); }
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
  auto code = std::make_shared<Code>();
  code->source = pattern;
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 64);
  int error = 0;
  PCRE2_SIZE at = 0;
  code->compiled = pcre2_compile(bytes(*translated), translated->size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                 &error, &at, context.get());
  if (!code->compiled)
    return fail(pcreMessage(error));
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE); // a failure leaves the interpreter
  Regex regex;
  regex.code = std::move(code);
  return regex;
}

struct Searcher::Match {
  pcre2_match_data *data;
  pcre2_match_context *limits;

  Match(const pcre2_code *compiled, size_t subjectBytes)
      : data(pcre2_match_data_create_from_pattern(compiled, nullptr)),
        limits(pcre2_match_context_create(nullptr)) {
    uint64_t steps = 2'000'000 + 64 * static_cast<uint64_t>(subjectBytes);
    pcre2_set_match_limit(limits, static_cast<uint32_t>(std::min<uint64_t>(steps, 1u << 31)));
    pcre2_set_depth_limit(limits, static_cast<uint32_t>(std::min<uint64_t>(steps, 1u << 31)));
    // Kibibytes; backtracking frames of a few hundred bytes a character are normal.
    pcre2_set_heap_limit(
        limits, static_cast<uint32_t>(std::min<uint64_t>(16384 + subjectBytes / 2, 4u << 20)));
  }
  ~Match() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
  }
};

Searcher::Searcher(const Regex &regex, size_t bytes)
    : code(*regex.code), match(std::make_unique<Match>(regex.code->compiled, bytes)) {}

Searcher::~Searcher() = default;

void Searcher::start(std::string_view text) {
  subject = text;
  from = 0;
  lastEnd = 0;
  matched = false;
}

Result<bool> Searcher::next(Span &span) {
  while (from <= subject.size()) {
    int count = pcre2_match(code.compiled, bytes(subject), subject.size(), from, PCRE2_NO_UTF_CHECK,
                            match->data, match->limits);
    if (count == PCRE2_ERROR_JIT_STACKLIMIT)
      count = pcre2_match(code.compiled, bytes(subject), subject.size(), from,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, match->data, match->limits);
    if (count == PCRE2_ERROR_NOMATCH)
      return false;
    if (count < 0)
      return Error{"pattern " + quoted(code.source) + " fails at byte " + std::to_string(from) +
                       " of a piece of " + std::to_string(subject.size()) +
                       " bytes: " + pcreMessage(count) + "; it backtracks too much",
                   Exit::ForeignFile};
    const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(match->data);
    span.begin = std::max<size_t>(ends[0], lastEnd); // \K could set it back
    span.end = std::max<size_t>(ends[1], span.begin);
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
