#include "tests/ptxsim/text/Lexer.h"
#include <cctype>

namespace ptxsim {
namespace {

bool startsWord(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_' || c == '$' || c == '%' ||
         c == '.';
}

bool continuesWord(char c) { return startsWord(c) || std::isdigit(static_cast<unsigned char>(c)); }

} // namespace

void Lexer::skipBlanks() {
  while (at < text.size()) {
    if (text[at] == '\n')
      ++line;
    if (std::isspace(static_cast<unsigned char>(text[at]))) {
      ++at;
    } else if (text.substr(at, 2) == "//") {
      while (at < text.size() && text[at] != '\n')
        ++at;
    } else if (text.substr(at, 2) == "/*") {
      size_t end = text.find("*/", at + 2);
      size_t stop = end == text.npos ? text.size() : end + 2;
      for (; at < stop; ++at)
        line += text[at] == '\n';
    } else {
      return;
    }
  }
}

Token Lexer::next() {
  skipBlanks();
  if (at >= text.size())
    return {Token::End, {}, line};
  size_t begin = at;
  Token::Kind kind = Token::Punctuation;
  char c = text[at];
  if (c == '"') {
    size_t end = text.find('"', at + 1);
    at = end == text.npos ? text.size() : end + 1;
    return {Token::String, text.substr(begin + 1, at - begin - 2), line};
  }
  if (std::isdigit(static_cast<unsigned char>(c))) {
    kind = Token::Number;
    while (at < text.size() &&
           (continuesWord(text[at]) || // 1e-3 has a sign within
            ((text[at] == '-' || text[at] == '+') && (text[at - 1] == 'e' || text[at - 1] == 'E') &&
             text.substr(begin, 2) != "0x" && text.substr(begin, 2) != "0f" &&
             text.substr(begin, 2) != "0d")))
      ++at;
  } else if (startsWord(c)) {
    kind = Token::Word;
    while (at < text.size() && (continuesWord(text[at]) || text.substr(at, 2) == "::"))
      at += text[at] == ':' ? 2 : 1;
  } else {
    ++at;
  }
  return {kind, text.substr(begin, at - begin), line};
}

} // namespace ptxsim
