// Expressions over symbols: sizes of weights, defaults of symbols, numbers of a graph.

#include "dsl/Functions.h"
#include "dsl/GraphCheck.h"
#include "dsl/Text.h"

#include <cmath>

namespace lorac::dsl {

std::optional<double> evaluate(const Expr &expr, const std::map<std::string, double> &symbols,
                               Diagnostics &diags) {
  auto fail = [&](const SourceRange &range, std::string message) {
    diags.error(range, std::move(message));
    return std::nullopt;
  };
  switch (expr.kind) {
  case ExprKind::Number:
    return expr.number;
  case ExprKind::Name: {
    if (auto it = symbols.find(expr.name); it != symbols.end())
      return it->second;
    if (expr.name == "true" || expr.name == "false")
      return expr.name == "true";
    std::vector<std::string> words;
    for (const auto &[name, value] : symbols)
      words.push_back(name);
    diags.error(expr.range, "no symbol is named '" + expr.name + "' above this one")
        .suggest(nearest(expr.name, words));
    return std::nullopt;
  }
  case ExprKind::Call: {
    const Function *function = findFunction(expr.name);
    if (!function)
      return fail(expr.range, "'" + expr.name +
                                  "' is no part of a number: write symbols, numbers, + - * / %, "
                                  "comparisons and functions of one number, as sqrt");
    if (std::string wrong = wrongArguments(expr); !wrong.empty())
      return fail(expr.range, std::move(wrong));
    std::optional<double> value = evaluate(expr.args[0], symbols, diags);
    return value ? std::optional<double>(valueOf(*function, *value)) : std::nullopt;
  }
  case ExprKind::Neg: {
    std::optional<double> value = evaluate(expr.args[0], symbols, diags);
    return value ? std::optional<double>(-*value) : std::nullopt;
  }
  case ExprKind::None:
    return std::nullopt;
  default:
    break;
  }
  std::optional<double> left = evaluate(expr.args[0], symbols, diags);
  std::optional<double> right = evaluate(expr.args[1], symbols, diags);
  if (!left || !right)
    return std::nullopt;
  return arithmetic(expr, *left, *right, diags);
}

std::optional<double> arithmetic(const Expr &expr, double left, double right, Diagnostics &diags) {
  switch (expr.kind) {
  case ExprKind::Add:
    return left + right;
  case ExprKind::Sub:
    return left - right;
  case ExprKind::Mul:
    return left * right;
  case ExprKind::Less:
    return left < right;
  case ExprKind::LessEqual:
    return left <= right;
  case ExprKind::Greater:
    return left > right;
  case ExprKind::GreaterEqual:
    return left >= right;
  case ExprKind::Equal:
    return left == right;
  case ExprKind::NotEqual:
    return left != right;
  default:
    if (right != 0)
      return expr.kind == ExprKind::Div ? left / right : std::fmod(left, right);
    diags.error(expr.range, "divides by zero");
    return std::nullopt;
  }
}

std::optional<int64_t> evaluateSize(const Expr &expr, const std::map<std::string, double> &symbols,
                                    const std::string &what, Diagnostics &diags) {
  std::optional<double> value = evaluate(expr, symbols, diags);
  if (!value)
    return std::nullopt;
  if (!(*value >= 1 && *value < 0x1p31) || *value != std::floor(*value)) {
    diags.error(expr.range,
                what + " must be a whole number from 1 to 2147483647, got " + shortest(*value));
    return std::nullopt;
  }
  return static_cast<int64_t>(*value);
}

} // namespace lorac::dsl
