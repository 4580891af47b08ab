#include "dsl/GraphParser.h"

#include "dsl/Text.h"

#include <cctype>
#include <charconv>

namespace lorac::dsl {

namespace {

constexpr int MaxDepth = 64;   // nested calls and parentheses
constexpr int MaxParts = 1000; // of one statement: its tree is walked by recursion

enum class TokenKind { End, Newline, Name, Number, Symbol };

struct Token {
  TokenKind kind = TokenKind::End;
  std::string text; ///< Name; Symbol: one character, or a comparison of two
  double number = 0;
  SourceRange range;
};

class Parser {
public:
  Parser(const EmbeddedText &source, Diagnostics &diags)
      : text(source.text), file(source.where.file), line(source.where.beginLine),
        column(source.where.beginColumn), diags(diags) {
    advance();
  }

  void program(GraphAst &out) {
    while (token.kind != TokenKind::End) {
      failed = false;
      parts = open = depth = 0;
      if (token.kind == TokenKind::Newline) {
        advance();
        continue;
      }
      Statement statement;
      statement.name = token.text;
      statement.nameRange = token.range;
      if (token.kind != TokenKind::Name)
        fail("expected a name to assign to, got " + shown());
      else
        advance();
      expect("=", "after '" + printable(statement.name) + "'");
      if (!failed)
        statement.value = value();
      if (!failed && token.kind != TokenKind::Newline && token.kind != TokenKind::End)
        fail("expected the end of the line, got " + shown());
      if (!failed)
        out.statements.push_back(std::move(statement));
      open = 0;
      while (failed && token.kind != TokenKind::Newline && token.kind != TokenKind::End)
        advance();
    }
  }

  Expr expression() {
    open = 1; // one string is one expression, over lines or not
    Expr out = value();
    if (!failed && token.kind != TokenKind::End)
      fail("expected the end of the expression, got " + shown());
    return failed ? Expr{} : out;
  }

private:
  void advance() {
    previousEnd = token.range;
    for (;;) {
      token = lex();
      if (token.kind != TokenKind::Newline || open == 0)
        return;
    }
  }

  Token lex() {
    skipBlanks();
    Token out;
    uint32_t startColumn = column, startLine = line;
    auto finish = [&](TokenKind kind) {
      out.kind = kind;
      out.range = {file, startLine, startColumn, startLine, std::max(column, startColumn + 1)};
      return out;
    };
    if (at >= text.size())
      return finish(TokenKind::End);
    for (std::string_view two : {"<=", ">=", "==", "!="})
      if (std::string_view(text).substr(at, 2) == two) {
        out.text = two;
        at += 2, column += 2;
        return finish(TokenKind::Symbol);
      }
    char c = text[at];
    if (c == '\n') {
      ++at;
      out = finish(TokenKind::Newline);
      ++line;
      column = 1;
      return out;
    }
    if (std::isalpha(static_cast<unsigned char>(c)) || c == '_') {
      while (at < text.size() &&
             (std::isalnum(static_cast<unsigned char>(text[at])) || text[at] == '_'))
        out.text += take();
      return finish(TokenKind::Name);
    }
    if (std::isdigit(static_cast<unsigned char>(c))) {
      const char *begin = text.data() + at;
      auto [end, error] = std::from_chars(begin, text.data() + text.size(), out.number);
      out.text.assign(begin, end);
      at += out.text.size();
      column += static_cast<uint32_t>(out.text.size());
      finish(TokenKind::Number);
      if (error != std::errc())
        report(out.range, "the number " + printable(out.text, 30) + " is out of range");
      return out;
    }
    out.text = text.substr(at, decode(std::string_view(text).substr(at)).bytes);
    at += out.text.size();
    ++column;
    return finish(TokenKind::Symbol);
  }

  char take() {
    ++column;
    return text[at++];
  }

  void skipBlanks() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r'))
      take();
    if (at < text.size() && text[at] == '#')
      while (at < text.size() && text[at] != '\n')
        take();
  }

  std::string shown() const {
    switch (token.kind) {
    case TokenKind::End:
      return "the end of the text";
    case TokenKind::Newline:
      return "the end of the line";
    default:
      return "'" + printable(token.text) + "'";
    }
  }

  Diagnostic *report(const SourceRange &range, std::string message) {
    if (failed)
      return nullptr;
    failed = true;
    return &diags.error(range, std::move(message));
  }

  Diagnostic *fail(std::string message) { return report(token.range, std::move(message)); }

  bool isSymbol(std::string_view symbol) const {
    return token.kind == TokenKind::Symbol && token.text == symbol;
  }

  void expect(std::string_view symbol, const std::string &where) {
    if (failed)
      return;
    if (!isSymbol(symbol))
      fail("expected '" + std::string(symbol) + "' " + where + ", got " + shown());
    else
      advance();
  }

  SourceRange from(const SourceRange &begin) const {
    SourceRange range = begin;
    range.endLine = previousEnd.endLine;
    range.endColumn = previousEnd.endColumn;
    return range;
  }

  Expr node(ExprKind kind, std::vector<Expr> args, const SourceRange &begin) {
    Expr out;
    out.kind = kind;
    out.args = std::move(args);
    out.range = from(begin);
    if (++parts > MaxParts)
      report(begin, "the expression has more than " + std::to_string(MaxParts) + " parts");
    return out;
  }

  Expr binary(ExprKind kind, Expr left, Expr right, const SourceRange &begin) {
    std::vector<Expr> args;
    args.push_back(std::move(left));
    args.push_back(std::move(right));
    return node(kind, std::move(args), begin);
  }

  Expr value() {
    static constexpr std::pair<std::string_view, ExprKind> comparisons[] = {
        {"<", ExprKind::Less},          {"<=", ExprKind::LessEqual}, {">", ExprKind::Greater},
        {">=", ExprKind::GreaterEqual}, {"==", ExprKind::Equal},     {"!=", ExprKind::NotEqual}};
    SourceRange begin = token.range;
    Expr left = sum();
    for (auto [symbol, kind] : comparisons)
      if (!failed && isSymbol(symbol)) {
        advance();
        Expr right = sum();
        return binary(kind, std::move(left), std::move(right), begin);
      }
    return left;
  }

  Expr sum() {
    SourceRange begin = token.range;
    Expr left = product();
    while (!failed && (isSymbol("+") || isSymbol("-"))) {
      ExprKind kind = isSymbol("+") ? ExprKind::Add : ExprKind::Sub;
      advance();
      Expr right = product();
      left = binary(kind, std::move(left), std::move(right), begin);
    }
    return left;
  }

  Expr product() {
    SourceRange begin = token.range;
    Expr left = unary();
    while (!failed && (isSymbol("*") || isSymbol("/") || isSymbol("%"))) {
      ExprKind kind = isSymbol("*") ? ExprKind::Mul : isSymbol("/") ? ExprKind::Div : ExprKind::Mod;
      advance();
      Expr right = unary();
      left = binary(kind, std::move(left), std::move(right), begin);
    }
    return left;
  }

  Expr unary() {
    if (!isSymbol("-"))
      return primary();
    SourceRange begin = token.range;
    if (!enter())
      return {};
    advance();
    Expr operand = unary();
    --depth;
    std::vector<Expr> args;
    args.push_back(std::move(operand));
    return node(ExprKind::Neg, std::move(args), begin);
  }

  bool enter() {
    if (++depth <= MaxDepth)
      return true;
    fail("the expression is nested more than " + std::to_string(MaxDepth) + " deep");
    return false;
  }

  Expr primary() {
    SourceRange begin = token.range;
    if (token.kind == TokenKind::Number || token.kind == TokenKind::Name) {
      Token word = token;
      advance();
      if (word.kind == TokenKind::Name && isSymbol("("))
        return call(word);
      Expr out =
          node(word.kind == TokenKind::Number ? ExprKind::Number : ExprKind::Name, {}, begin);
      out.number = word.number;
      out.name = word.text;
      return out;
    }
    if (!isSymbol("(")) {
      fail("expected a value, got " + shown());
      return {};
    }
    if (!enter())
      return {};
    ++open;
    advance();
    Expr inner = value();
    close(begin);
    --depth;
    inner.range = from(begin);
    return inner;
  }

  Expr call(const Token &name) {
    SourceRange parenthesis = token.range;
    if (!enter())
      return {};
    ++open;
    advance();
    std::vector<Expr> args;
    if (!isSymbol(")")) {
      args.push_back(argument());
      while (!failed && isSymbol(",")) {
        advance();
        args.push_back(argument());
      }
    }
    close(parenthesis);
    --depth;
    Expr out = node(ExprKind::Call, std::move(args), name.range);
    out.name = name.text;
    out.nameRange = name.range;
    return out;
  }

  Expr argument() {
    Expr first = value();
    if (failed || first.kind != ExprKind::Name || !isSymbol("="))
      return first;
    advance();
    Expr given = value();
    given.label = first.name;
    return given;
  }

  // The `)` that belongs to `opened`.
  void close(const SourceRange &opened) {
    if (failed)
      return;
    if (!isSymbol(")")) {
      if (Diagnostic *error = fail("expected ',' or ')', got " + shown()))
        error->note(opened, "this '(' is not closed");
      return;
    }
    --open;
    advance();
  }

  const std::string &text;
  std::shared_ptr<const SourceFile> file;
  uint32_t line, column;
  Diagnostics &diags;
  size_t at = 0;
  Token token;
  SourceRange previousEnd;
  bool failed = false;
  int open = 0;  ///< open parentheses: a newline inside them is a blank
  int depth = 0; ///< of the parser's recursion
  int parts = 0;
};

} // namespace

GraphAst parseGraph(const EmbeddedText &source, Diagnostics &diags) {
  GraphAst out;
  out.range = source.where;
  Parser(source, diags).program(out);
  return out;
}

Expr parseExpression(const EmbeddedText &source, Diagnostics &diags) {
  return Parser(source, diags).expression();
}

} // namespace lorac::dsl
