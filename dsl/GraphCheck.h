#pragma once
// Types and shapes of a graph: every expression is a number, a row `[n]`, `[tokens, n]` or
// `[tokens, heads, d]`.

#include "dsl/Diagnostics.h"
#include "dsl/Graph.h"
#include "dsl/GraphParser.h"

#include <map>
#include <optional>

namespace lorac::dsl {

enum class SectionKind { Embed, Block, Head };
std::string_view toString(SectionKind);

/// What names of a graph may stand for.
struct GraphNames {
  const std::map<std::string, double> &symbols;
  const std::vector<BoundWeight> &weights;
  const std::vector<RopeFrequencies> &ropes;
  int64_t hiddenSize;
};

/// The value of an expression over symbols and numbers; errors are in `diags`.
std::optional<double> evaluate(const Expr &expr, const std::map<std::string, double> &symbols,
                               Diagnostics &diags);
/// The same, for a size: an integer from 1 to 2^31 - 1.
std::optional<int64_t> evaluateSize(const Expr &expr, const std::map<std::string, double> &symbols,
                                    const std::string &what, Diagnostics &diags);
/// `left` and `right` by the expression's operator.
std::optional<double> arithmetic(const Expr &expr, double left, double right, Diagnostics &diags);

/// What an operator or the call of a function is between tensors; nothing for those of numbers
/// alone.
std::optional<GraphOp> elementwiseOp(ExprKind kind);

/// Checks a section and gives its nodes in order of evaluation. False after an error.
bool checkSection(SectionKind kind, const GraphAst &ast, const GraphNames &names, GraphSection &out,
                  Diagnostics &diags);

} // namespace lorac::dsl
