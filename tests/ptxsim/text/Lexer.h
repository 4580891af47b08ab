// Tokens of PTX. Dots belong to words: `ld.global.u32`, `.reg` and `%tid.x` are one token each.
#ifndef PTXSIM_TEXT_LEXER_H
#define PTXSIM_TEXT_LEXER_H

#include <string>
#include <string_view>

namespace ptxsim {

struct Token {
  enum Kind { End, Word, Number, String, Punctuation };
  Kind kind = End;
  std::string_view text;
  int line = 0;

  bool is(std::string_view other) const { return kind != String && text == other; }
};

class Lexer {
public:
  explicit Lexer(std::string_view text) : text(text) {}

  Token next();

private:
  void skipBlanks();

  std::string_view text;
  size_t at = 0;
  int line = 1;
};

} // namespace ptxsim

#endif
