// Changes of bytes, and of JSON as text: it need not be well-formed.
#include "tests/reliability/fuzz/Harness.h"

#include <algorithm>
#include <cctype>
#include <cstring>

namespace lorac::fuzz {

namespace {

constexpr const char *numbers[] = {"0",
                                   "1",
                                   "-1",
                                   "2",
                                   "3",
                                   "16",
                                   "255",
                                   "256",
                                   "65536",
                                   "2147483647",
                                   "2147483648",
                                   "-2147483648",
                                   "4294967296",
                                   "1125899906842624",
                                   "9223372036854775807",
                                   "-9223372036854775808",
                                   "18446744073709551615",
                                   "18446744073709551616",
                                   "0.5",
                                   "1e999",
                                   "-1e308",
                                   "1e-400",
                                   "1e3",
                                   "NaN"};
constexpr const char *values[] = {"null",  "true", "false", "[]",          "{}",         "\"\"",
                                  "\"a\"", "[0]",  "[[]]",  "\"\\u0000\"", "\"\\ud800\""};

template <size_t n>
const char *oneOf(const char *const (&list)[n], Draw &draw) {
  return list[draw() % n];
}

/// Spans of the tokens of a JSON text: numbers, strings, words.
struct Token {
  size_t begin, end;
  char kind; // 'n', 's', 'w'
};

std::vector<Token> tokensOf(const std::string &text) {
  std::vector<Token> out;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    size_t end = at + 1;
    if (c == '"') {
      while (end < text.size() && text[end] != '"')
        end += text[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, text.size());
      out.push_back({at, end, 's'});
    } else if (c == '-' || std::isdigit(static_cast<unsigned char>(c))) {
      while (end < text.size() && (std::isdigit(static_cast<unsigned char>(text[end])) ||
                                   std::strchr("+-.eE", text[end])))
        ++end;
      out.push_back({at, end, 'n'});
    } else if (std::isalpha(static_cast<unsigned char>(c))) {
      while (end < text.size() && std::isalpha(static_cast<unsigned char>(text[end])))
        ++end;
      out.push_back({at, end, 'w'});
    }
    at = end;
  }
  return out;
}

/// From the token to the comma behind it: an element or a member, more or less.
size_t endOfElement(const std::string &text, size_t at) {
  int depth = 0;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '[' || c == '{')
      ++depth;
    if ((c == ']' || c == '}') && --depth < 0)
      return at;
    if (c == ',' && depth == 0)
      return at + 1;
  }
  return at;
}

} // namespace

std::string changeBytes(const std::string &bytes, Draw &draw) {
  std::string out = bytes;
  const size_t at = out.empty() ? 0 : draw() % out.size();
  const size_t length = std::min<size_t>(1 + draw() % 32, out.size() - at);
  switch (out.empty() ? 3 : draw() % 7) {
  case 0:
    out[at] = char(uint8_t(out[at]) ^ (1u << (draw() % 8)));
    break;
  case 1:
    out[at] = char(draw());
    break;
  case 2:
    out.erase(at, length);
    break;
  case 3:
    out.insert(at, std::string(1 + draw() % 8, char(draw())));
    break;
  case 4:
    out.insert(draw() % (out.size() + 1), out.substr(at, length));
    break;
  case 5: { // a number at an edge, 1, 2, 4 or 8 bytes
    constexpr uint64_t edges[] = {0,
                                  1,
                                  0x7f,
                                  0x80,
                                  0xff,
                                  0x7fff,
                                  0x8000,
                                  0xffff,
                                  0x7fffffff,
                                  0x80000000,
                                  0xffffffff,
                                  0x7fffffffffffffff,
                                  0x8000000000000000,
                                  ~uint64_t(0)};
    const uint64_t value = edges[draw() % std::size(edges)];
    std::memcpy(out.data() + at, &value,
                std::min<size_t>(size_t(1) << (draw() % 4), out.size() - at));
    break;
  }
  case 6:
    out.resize(at);
    break;
  }
  return out;
}

std::string changeJson(const std::string &bytes, Draw &draw) {
  const std::vector<Token> tokens = tokensOf(bytes);
  if (tokens.empty())
    return bytes;
  std::string out = bytes;
  const Token token = tokens[draw() % tokens.size()], other = tokens[draw() % tokens.size()];
  const size_t end = endOfElement(bytes, token.begin);
  switch (draw() % 6) {
  case 0:
  case 1: // another number, word or text
    out.replace(token.begin, token.end - token.begin,
                token.kind == 'n' && draw() % 4 ? oneOf(numbers, draw) : oneOf(values, draw));
    break;
  case 2: // the value of another place
    out.replace(token.begin, token.end - token.begin,
                bytes.substr(other.begin, other.end - other.begin));
    break;
  case 3: // gone
    out.erase(token.begin, end - token.begin);
    break;
  case 4: // twice
    out.insert(token.begin, bytes.substr(token.begin, end - token.begin));
    break;
  case 5: // a byte within
    out[token.begin + draw() % (token.end - token.begin)] = char(' ' + draw() % 95);
    break;
  }
  return out;
}

std::string changeSafetensors(const std::string &bytes, Draw &draw) {
  uint64_t length = 0;
  if (bytes.size() < 8)
    return bytes;
  std::memcpy(&length, bytes.data(), 8);
  length = std::min<uint64_t>(length, bytes.size() - 8);
  std::string header = changeJson(bytes.substr(8, length), draw);
  const uint64_t now = header.size();
  return std::string(reinterpret_cast<const char *>(&now), 8) + header + bytes.substr(8 + length);
}

} // namespace lorac::fuzz
