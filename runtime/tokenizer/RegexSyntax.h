#pragma once
// From the regex dialect of tokenizer files (Oniguruma's) to PCRE2's.

#include "runtime/Result.h"

#include <string>
#include <string_view>

namespace lorac::tok {

/// The pattern in PCRE2's syntax, for PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE. What is rewritten:
/// - `\s \S \d \D \w \W \h \H`, and with them `\b \B`, to the classes that Oniguruma means
/// (White_Space has no U+180E, `\d`
///   is Nd, `\w` has marks and letter-like symbols, `\h` is a hexadecimal digit);
/// - general categories, widened by the characters that are newer than PCRE2's tables;
/// - nested classes and intersections, `[a[bc]]` and `[a&&[^b]]`;
/// - `\uHHHH`, `(?m:` (dot matches newline), `{,n}`, and `{n,m}+`, which is not possessive there.
/// Fails where a class does not end or nests deeper than 32; other faults are left to PCRE2.
Result<std::string> toPcre(std::string_view pattern);

} // namespace lorac::tok
