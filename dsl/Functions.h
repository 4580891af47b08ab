#pragma once
// The rows of Functions.def, as dsl and frontend ask for them.

#include "dsl/GraphParser.h"

#include <string>
#include <string_view>
#include <vector>

namespace lorac::dsl {

/// An elementwise function of one number.
struct Function {
  std::string_view name;
  double (*value)(double x);    ///< null: the formula says it
  std::string_view formulaText; ///< empty: an op of its own
  Expr formula{};
};

/// Null where none has the name.
const Function *findFunction(std::string_view name);
std::vector<std::string> functionNames();

/// What is wrong with the arguments of a call of such a function; "": nothing.
std::string wrongArguments(const Expr &call);

/// Its value, through the formula where it has one.
double valueOf(const Function &function, double x);

} // namespace lorac::dsl
