#pragma once
// Properties of code points, from utf8proc's tables.

#include <cstdint>

namespace lorac::tok {

/// White_Space.
bool isSpace(uint32_t codePoint);
/// General category N*.
bool isNumeric(uint32_t codePoint);
/// General category P*, or an ASCII character of `[[:punct:]]`.
bool isPunctuation(uint32_t codePoint);
/// General category Mn.
bool isNonSpacingMark(uint32_t codePoint);
/// Letters, marks, decimal digits, letter numbers, connectors and joiners: what makes a word for
/// added tokens.
bool isWord(uint32_t codePoint);

} // namespace lorac::tok
