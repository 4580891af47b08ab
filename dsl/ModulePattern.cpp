#include "dsl/ModulePattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace lorac::dsl {

struct ModulePattern::Code {
  pcre2_code *code = nullptr;
  pcre2_match_data *match = nullptr;
  pcre2_match_context *context = nullptr;
  ~Code() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
  }
};

static pcre2_code *compileText(const std::string &text, int &error, size_t &offset) {
  return pcre2_compile(reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(),
                       PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
}

std::optional<ModulePattern> ModulePattern::compile(const std::string &text, std::string &error) {
  if (text.size() > 4096) {
    error = "it is longer than 4096 bytes";
    return std::nullopt;
  }
  int number = 0;
  size_t offset = 0;
  // Alone first: an error must not speak of the brackets that are put around it.
  pcre2_code *alone = compileText(text, number, offset);
  pcre2_code *whole = nullptr;
  if (alone) {
    pcre2_code_free(alone);
    whole = compileText("^(?:.*\\.)?(?:" + text + ")$", number, offset);
  }
  if (!whole) {
    unsigned char message[256];
    pcre2_get_error_message(number, message, sizeof message);
    error = std::string(reinterpret_cast<char *>(message)) + " (at character " +
            std::to_string(offset + 1) + ")";
    return std::nullopt;
  }
  ModulePattern out;
  out.code = std::make_shared<Code>();
  out.code->code = whole;
  out.code->match = pcre2_match_data_create(1, nullptr);
  out.code->context = pcre2_match_context_create(nullptr);
  pcre2_set_match_limit(out.code->context, 100000);
  return out;
}

bool ModulePattern::matches(const std::string &module) const {
  return pcre2_match(code->code, reinterpret_cast<PCRE2_SPTR>(module.data()), module.size(), 0, 0,
                     code->match, code->context) >= 0;
}

} // namespace lorac::dsl
