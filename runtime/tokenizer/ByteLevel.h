#pragma once
// GPT-2's alphabet: each byte as one printable character, so that BPE can work on text.

#include <cstdint>
#include <string>
#include <string_view>

namespace lorac::tok {

/// The bytes of `text`, each as its character (one or two UTF-8 bytes) appended to `out`.
void appendByteLevel(std::string &out, std::string_view text);

/// The byte that `codePoint` stands for, or -1 where it is not in the alphabet.
int byteOfCodePoint(uint32_t codePoint);

/// The bytes of a token of well-formed UTF-8; the token itself where a character of it is not in
/// the alphabet.
std::string bytesOfToken(std::string_view token);

} // namespace lorac::tok
