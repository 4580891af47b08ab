#pragma once
// UTF-8 for messages: code points, how wide they print, and text that is safe to show.

#include <cstdint>
#include <string>
#include <string_view>

namespace lorac::dsl {

struct CodePoint {
  char32_t value;
  uint8_t bytes; ///< how many bytes it took; 1 for an invalid byte
  bool valid;
};

/// The code point at the start of `text` (not empty); an invalid byte gives U+FFFD.
CodePoint decode(std::string_view text);
void append(std::string &out, char32_t codePoint);

/// The shortest text that reads back as the same number.
std::string shortest(double value);
/// A number in a message.
inline std::string shown(int64_t value) { return std::to_string(value); }
inline std::string shown(double value) { return shortest(value); }

/// Columns of a terminal: 0 for combining marks, 2 for wide East Asian characters and emoji,
/// else 1.
int width(char32_t codePoint);

/// The byte offset of a column (from 1) in a line, at most its size.
size_t byteOfColumn(std::string_view line, uint32_t column);

/// Whether the whole text is valid UTF-8; `line`, `column` of the first bad byte otherwise.
bool isUtf8(std::string_view text, uint32_t &line, uint32_t &column);

} // namespace lorac::dsl
