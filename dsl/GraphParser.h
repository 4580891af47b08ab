#pragma once
// The expression language of architecture files: `q = rope(heads(linear(h, q_proj), n_heads))`.
//
//   program   := { name '=' value newline }      comments run from '#' to the end of the line
//   value     := sum [ ('<' | '<=' | '>' | '>=' | '==' | '!=') sum ]
//   sum       := product { ('+' | '-') product }
//   product   := unary { ('*' | '/' | '%') unary }
//   unary     := '-' unary | primary
//   primary   := number | name | name '(' argument { ',' argument } ')' | '(' value ')'
//   argument  := [ name '=' ] value
//
// An expression may go on over lines inside parentheses. Nesting is limited.

#include "dsl/Diagnostics.h"

#include <memory>
#include <string>
#include <vector>

namespace lorac::dsl {

enum class ExprKind {
  None,
  Number,
  Name,
  Call,
  Add,
  Sub,
  Mul,
  Div,
  Mod,
  Less,
  LessEqual,
  Greater,
  GreaterEqual,
  Equal,
  NotEqual,
  Neg
};

/// An expression's tree; `args` are operands or arguments.
struct Expr {
  ExprKind kind = ExprKind::None;
  double number = 0;
  std::string name;      ///< Name, Call
  SourceRange nameRange; ///< Call: of the function's name
  std::string label;     ///< of an argument that is given by its name: scale = 0.5
  std::vector<Expr> args;
  SourceRange range;
};

struct Statement {
  std::string name;
  SourceRange nameRange;
  Expr value;
};

struct GraphAst {
  std::vector<Statement> statements;
  SourceRange range; ///< of the string
};

/// Text inside a TOML file: `text` begins at line and column of `where` (its begin).
struct EmbeddedText {
  std::string text;
  SourceRange where;
};

/// Errors are in `diags`; after one in a statement, parsing goes on with the next line.
GraphAst parseGraph(const EmbeddedText &source, Diagnostics &diags);
/// One expression over symbols and numbers, as in `shape = ["n_heads * head_dim", "hidden_size"]`;
/// kind None after an error.
Expr parseExpression(const EmbeddedText &source, Diagnostics &diags);

} // namespace lorac::dsl
