#include "dsl/Text.h"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace lorac::dsl {

CodePoint decode(std::string_view text) {
  auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const CodePoint bad{0xFFFD, 1, false};
  unsigned char first = byte(0);
  if (first < 0x80)
    return {first, 1, true};
  uint8_t count = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < count)
    return bad;
  char32_t value = first & (0x7F >> count);
  for (uint8_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80)
      return bad;
    value = (value << 6) | (byte(i) & 0x3F);
  }
  bool overlong = (count == 3 && value < 0x800) || (count == 4 && value < 0x10000);
  if (overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF))
    return bad;
  return {value, count, true};
}

void append(std::string &out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
    return;
  }
  int count = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
  const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
  out += static_cast<char>(lead[count] | (c >> (6 * (count - 1))));
  for (int i = count - 2; i >= 0; --i)
    out += static_cast<char>(0x80 | ((c >> (6 * i)) & 0x3F));
}

std::string shortest(double value) {
  char buffer[40];
  return {buffer, std::to_chars(buffer, buffer + sizeof buffer, value).ptr};
}

int width(char32_t c) {
  struct Span {
    char32_t first, last;
  };
  static constexpr Span zero[] = {
      {0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},   {0x610, 0x61A},  {0x64B, 0x65F},
      {0x93C, 0x93C},   {0x94D, 0x94D},   {0xE31, 0xE31},   {0xE34, 0xE3A},  {0x200B, 0x200F},
      {0x20D0, 0x20F0}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}};
  static constexpr Span wide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
                                  {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},
                                  {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE4F},
                                  {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                                  {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
  auto in = [c](const Span &span) { return c >= span.first && c <= span.last; };
  if (std::any_of(std::begin(zero), std::end(zero), in))
    return 0;
  return std::any_of(std::begin(wide), std::end(wide), in) ? 2 : 1;
}

size_t byteOfColumn(std::string_view line, uint32_t column) {
  size_t at = 0;
  for (uint32_t c = 1; c < column && at < line.size(); ++c)
    at += decode(line.substr(at)).bytes;
  return at;
}

bool isUtf8(std::string_view text, uint32_t &line, uint32_t &column) {
  line = column = 1;
  for (size_t at = 0; at < text.size();) {
    CodePoint c = decode(text.substr(at));
    if (!c.valid)
      return false;
    if (c.value == '\n') {
      ++line;
      column = 1;
    } else {
      ++column;
    }
    at += c.bytes;
  }
  return true;
}

} // namespace lorac::dsl
