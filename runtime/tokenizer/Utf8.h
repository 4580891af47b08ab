#pragma once
// UTF-8: checking, walking, and the lossy reading that decoders use.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace lorac::tok {

/// Byte offset of the first byte that is not part of well-formed UTF-8 (no surrogates, no overlong
/// forms, nothing over U+10FFFF); nothing where all of it is well-formed.
std::optional<size_t> firstInvalidUtf8(std::string_view text);

/// The code point at `pos` of well-formed text; `pos` moves behind it.
uint32_t nextCodePoint(std::string_view text, size_t &pos);

/// The code point that ends before `end` (> 0) in well-formed text.
uint32_t lastCodePoint(std::string_view text, size_t end);

/// Bytes of the character that starts with `lead`, 1 to 4.
size_t characterBytes(unsigned char lead);

void appendUtf8(std::string &out, uint32_t codePoint);

/// Each maximal ill-formed part (Unicode 15, 3.9, "best practice"), or with `bytewise` each byte of
/// it, becomes one U+FFFD.
std::string lossyUtf8(std::string_view bytes, bool bytewise = false);

} // namespace lorac::tok
