#include "dsl/Functions.h"

#include "dsl/GraphCheck.h"

#include <cassert>
#include <cmath>

namespace lorac::dsl {

static const std::vector<Function> &table() {
  static const std::vector<Function> rows = [] {
    std::vector<Function> rows = {
#define LORAC_SCALAR(name, op, value, gradient, vector)                                            \
  {#name, [](double x) -> double { return value; }, ""},
#define LORAC_FUNCTION(name, formula) {#name, nullptr, formula},
#include "dsl/Functions.def"
    };
    for (Function &row : rows)
      if (!row.value) {
        Diagnostics diags;
        row.formula = parseExpression(
            {std::string(row.formulaText),
             {std::make_shared<SourceFile>("Functions.def", std::string(row.formulaText)), 1, 1, 1,
              1}},
            diags);
        assert(!diags.hasErrors() && "formulas of the table are of the language");
      }
    return rows;
  }();
  return rows;
}

const Function *findFunction(std::string_view name) {
  for (const Function &row : table())
    if (row.name == name)
      return &row;
  return nullptr;
}

std::vector<std::string> functionNames() {
  std::vector<std::string> names;
  for (const Function &row : table())
    names.emplace_back(row.name);
  return names;
}

std::string wrongArguments(const Expr &call) {
  if (call.args.size() != 1)
    return call.name + "(x) takes 1 argument, got " + std::to_string(call.args.size());
  if (const std::string &label = call.args[0].label; !label.empty())
    return call.name + "(x) takes its argument without a name: leave out '" + label + " ='";
  return "";
}

double valueOf(const Function &function, double x) {
  if (function.value)
    return function.value(x);
  Diagnostics diags;
  return evaluate(function.formula, {{"x", x}}, diags).value_or(NAN);
}

} // namespace lorac::dsl
