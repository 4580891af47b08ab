#include "runtime/regex/Pcre.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>

namespace lorac {
namespace {

PCRE2_SPTR bytes(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

Error errorOf(int number) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(number, text, sizeof text);
  return {reinterpret_cast<const char *>(text), Exit::Refused};
}

} // namespace

struct Pcre::Code {
  pcre2_code *compiled = nullptr;
  ~Code() { pcre2_code_free(compiled); }
};

Result<Pcre> Pcre::compile(std::string_view pattern, size_t *offset) {
  std::unique_ptr<pcre2_compile_context, decltype(&pcre2_compile_context_free)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  pcre2_set_parens_nest_limit(context.get(), 64);
  auto code = std::make_shared<Code>();
  int error = 0;
  PCRE2_SIZE at = 0;
  code->compiled = pcre2_compile(bytes(pattern), pattern.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                 &error, &at, context.get());
  if (offset)
    *offset = at;
  if (!code->compiled)
    return errorOf(error);
  pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE); // a failure leaves the interpreter
  Pcre out;
  out.code = std::move(code);
  return out;
}

struct PcreMatcher::State {
  pcre2_match_data *data;
  pcre2_match_context *limits;

  State(const pcre2_code *compiled, Limits given)
      : data(pcre2_match_data_create_from_pattern(compiled, nullptr)),
        limits(pcre2_match_context_create(nullptr)) {
    const auto steps = static_cast<uint32_t>(std::min<uint64_t>(given.steps, 1u << 31));
    pcre2_set_match_limit(limits, steps);
    pcre2_set_depth_limit(limits, steps);
    pcre2_set_heap_limit(limits,
                         static_cast<uint32_t>(std::min<uint64_t>(given.kibibytes, 4u << 20)));
  }
  ~State() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
  }
};

PcreMatcher::PcreMatcher(const Pcre &pattern, Limits limits)
    : code(pattern.code), state(std::make_unique<State>(code->compiled, limits)) {}

PcreMatcher::~PcreMatcher() = default;

Result<bool> PcreMatcher::find(std::string_view subject, size_t from, size_t &begin, size_t &end) {
  int count = pcre2_match(code->compiled, bytes(subject), subject.size(), from, PCRE2_NO_UTF_CHECK,
                          state->data, state->limits);
  if (count == PCRE2_ERROR_JIT_STACKLIMIT)
    count = pcre2_match(code->compiled, bytes(subject), subject.size(), from,
                        PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, state->data, state->limits);
  if (count == PCRE2_ERROR_NOMATCH)
    return false;
  if (count < 0)
    return errorOf(count);
  const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(state->data);
  begin = ends[0];
  end = ends[1];
  return true;
}

Result<bool> PcreMatcher::matchesRest(std::string_view subject, size_t from) {
  // Anchors that are given here run in the interpreter, JIT or not.
  const int count = pcre2_match(code->compiled, bytes(subject), subject.size(), from,
                                PCRE2_ANCHORED | PCRE2_ENDANCHORED, state->data, state->limits);
  if (count < 0 && count != PCRE2_ERROR_NOMATCH)
    return errorOf(count);
  return count >= 0;
}

} // namespace lorac
