#include "dsl/GraphCheck.h"

#include "dsl/Text.h"

#include <algorithm>
#include <cmath>

namespace lorac::dsl {

std::string_view toString(SectionKind kind) {
  static constexpr std::string_view words[] = {"embed", "block", "head"};
  return words[static_cast<int>(kind)];
}

namespace {

using Symbols = std::map<std::string, double>;

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string out = "[tokens";
  for (int64_t n : shape)
    out += ", " + std::to_string(n);
  return out + "]";
}

// What an expression is: a number, or the result of a node.
struct Value {
  bool isNumber = false;
  double number = 0;
  int id = 0;
  std::vector<int64_t> shape;
};

// One section; any method returns nothing after it has reported an error.
class SectionChecker {
public:
  SectionChecker(SectionKind kind, const GraphNames &names, GraphSection &out, Diagnostics &diags)
      : kind(kind), names(names), out(out), diags(diags) {}

  bool run(const GraphAst &ast) {
    size_t before = diags.errors();
    if (kind != SectionKind::Embed)
      variables["x"] = {{false, 0, SectionInput, {names.hiddenSize}}, {}};
    for (const Statement &statement : ast.statements)
      assign(statement);
    if (diags.errors() != before)
      return false;
    result(ast);
    if (diags.errors() == before)
      unused();
    return diags.errors() == before;
  }

private:
  struct Variable {
    Value value;
    SourceRange range;
  };

  std::nullopt_t error(const SourceRange &range, std::string message) {
    diags.error(range, std::move(message));
    return std::nullopt;
  }

  void assign(const Statement &statement) {
    const std::string &name = statement.name;
    if (findWeight(name) || names.symbols.count(name) || name == "ids" || name == "causal") {
      error(statement.nameRange, "'" + name + "' is the name of a " +
                                     (findWeight(name) ? "weight" : "symbol") +
                                     ": assign to another");
      return;
    }
    std::optional<Value> value = eval(statement.value);
    if (!value) {
      // Later statements may use the name: they are not wrong for that.
      broken.push_back(name);
      variables.erase(name);
      return;
    }
    if (value->isNumber) {
      error(statement.value.range, "'" + name + "' would be a number: a statement gives a tensor");
      return;
    }
    if (value->id >= 0 && out.nodes[value->id].name.empty())
      out.nodes[value->id].name = name;
    variables[name] = {*value, statement.nameRange};
  }

  // The section's result: logits of the head, else x.
  void result(const GraphAst &ast) {
    std::string name = kind == SectionKind::Head ? "logits" : "x";
    auto it = variables.find(name);
    if (it == variables.end() || it->second.value.id < 0) {
      error(ast.range,
            "[" + std::string(toString(kind)) + "] never assigns '" + name + "', its result");
      return;
    }
    const Value &value = it->second.value;
    out.output = value.id;
    auto vocab = names.symbols.find("vocab_size");
    int64_t want = kind != SectionKind::Head      ? names.hiddenSize
                   : vocab != names.symbols.end() ? static_cast<int64_t>(vocab->second)
                                                  : value.shape[0];
    if (value.shape != std::vector<int64_t>{want})
      error(it->second.range, "'" + name + "' of [" + std::string(toString(kind)) + "] must be " +
                                  shapeText({want}) + ", got " + shapeText(value.shape));
  }

  // A node that does not reach the result is a slip of the pen.
  void unused() {
    std::vector<bool> live(out.nodes.size(), false);
    live[out.output] = true;
    for (int id = static_cast<int>(out.nodes.size()) - 1; id >= 0; --id)
      if (live[id])
        for (int input : out.nodes[id].inputs)
          if (input >= 0)
            live[input] = true;
    for (size_t id = 0; id < live.size(); ++id)
      if (!live[id] && !out.nodes[id].name.empty())
        error(out.nodes[id].range, "'" + out.nodes[id].name + "' does not reach the result");
  }

  const BoundWeight *findWeight(std::string_view name) const {
    auto it = std::find_if(names.weights.begin(), names.weights.end(),
                           [&](auto &w) { return w.key == name; });
    return it == names.weights.end() ? nullptr : &*it;
  }

  std::optional<Value> eval(const Expr &expr) {
    switch (expr.kind) {
    case ExprKind::Number:
      return Value{true, expr.number, 0, {}};
    case ExprKind::Name:
      return lookUp(expr);
    case ExprKind::Call:
      return call(expr);
    case ExprKind::Neg:
      return negate(expr);
    default:
      return binary(expr);
    }
  }

  std::optional<Value> lookUp(const Expr &expr) {
    if (auto it = variables.find(expr.name); it != variables.end())
      return it->second.value;
    if (auto it = names.symbols.find(expr.name); it != names.symbols.end())
      return Value{true, it->second, 0, {}};
    if (std::find(broken.begin(), broken.end(), expr.name) != broken.end())
      return std::nullopt;
    if (const BoundWeight *weight = findWeight(expr.name))
      return error(expr.range, "'" + expr.name + "' is a weight: it stands in " +
                                   (weight->kind == WeightKind::Norm        ? "rms_norm(x, "
                                    : weight->kind == WeightKind::Embedding ? "embed(ids, "
                                                                            : "linear(x, ") +
                                   expr.name + ")");
    if (expr.name == "ids" || expr.name == "causal")
      return error(expr.range,
                   "'" + expr.name + "' stands in " +
                       (expr.name == "ids" ? "embed(ids, W)" : "attention(q, k, v, causal)"));
    std::vector<std::string> words;
    for (const auto &[name, variable] : variables)
      words.push_back(name);
    for (const auto &[name, value] : names.symbols)
      words.push_back(name);
    diags.error(expr.range, "nothing is named '" + expr.name + "' here")
        .suggest(nearest(expr.name, words));
    return std::nullopt;
  }

  std::optional<Value> tensor(const Expr &expr) {
    std::optional<Value> value = eval(expr);
    if (value && value->isNumber)
      return error(expr.range, "expects a tensor, got the number " + shortest(value->number));
    return value;
  }

  // A tensor of [tokens, n].
  std::optional<Value> rows(const Expr &expr, const std::string &what) {
    std::optional<Value> value = tensor(expr);
    if (value && value->shape.size() != 1)
      return error(expr.range, what + " expects [tokens, n], got " + shapeText(value->shape));
    return value;
  }

  // A tensor of [tokens, heads, d].
  std::optional<Value> headed(const Expr &expr, const std::string &what) {
    std::optional<Value> value = tensor(expr);
    if (value && value->shape.size() != 2) {
      diags.error(expr.range, what + " expects [tokens, heads, d], got " + shapeText(value->shape))
          .note("heads(x, n_heads) splits [tokens, n] into heads");
      return std::nullopt;
    }
    return value;
  }

  Value node(GraphOp op, std::vector<int> inputs, std::vector<int64_t> shape, const Expr &expr,
             std::string weight = {}, double factor = 0) {
    GraphNode node{op, std::move(inputs), std::move(weight), shape, factor, false, expr.range, {}};
    out.nodes.push_back(std::move(node));
    return {false, 0, static_cast<int>(out.nodes.size()) - 1, std::move(shape)};
  }

  std::optional<Value> negate(const Expr &expr) {
    std::optional<Value> value = eval(expr.args[0]);
    if (!value)
      return std::nullopt;
    if (value->isNumber)
      return Value{true, -value->number, 0, {}};
    return node(GraphOp::Neg, {value->id}, value->shape, expr);
  }

  std::optional<Value> binary(const Expr &expr) {
    std::optional<Value> left = eval(expr.args[0]);
    std::optional<Value> right = eval(expr.args[1]);
    if (!left || !right)
      return std::nullopt;
    if (left->isNumber && right->isNumber) {
      std::optional<double> value = arithmetic(expr, left->number, right->number);
      return value ? std::optional<Value>(Value{true, *value, 0, {}}) : std::nullopt;
    }
    if (left->isNumber || right->isNumber)
      return scaled(expr, *left, *right);
    if (expr.kind == ExprKind::Div)
      return error(expr.range, "a tensor is not divided by a tensor");
    if (left->shape != right->shape) {
      const char *sign = expr.kind == ExprKind::Add ? "+" : expr.kind == ExprKind::Sub ? "-" : "*";
      return error(expr.range, std::string("'") + sign +
                                   "' expects two tensors of one shape, got " +
                                   shapeText(left->shape) + " and " + shapeText(right->shape));
    }
    GraphOp op = expr.kind == ExprKind::Add   ? GraphOp::Add
                 : expr.kind == ExprKind::Sub ? GraphOp::Sub
                                              : GraphOp::Mul;
    return node(op, {left->id, right->id}, left->shape, expr);
  }

  std::optional<double> arithmetic(const Expr &expr, double left, double right) {
    if (expr.kind == ExprKind::Div && right == 0)
      return error(expr.range, "divides by zero");
    switch (expr.kind) {
    case ExprKind::Add:
      return left + right;
    case ExprKind::Sub:
      return left - right;
    case ExprKind::Mul:
      return left * right;
    default:
      return left / right;
    }
  }

  // A number times a tensor, or a tensor over a number.
  std::optional<Value> scaled(const Expr &expr, const Value &left, const Value &right) {
    const Value &tensor = left.isNumber ? right : left;
    double factor = left.isNumber ? left.number : right.number;
    if (expr.kind == ExprKind::Div && left.isNumber)
      return error(expr.range, "a number is not divided by a tensor");
    if (expr.kind != ExprKind::Mul && expr.kind != ExprKind::Div)
      return error(expr.range, "a number and a tensor can only be multiplied: got " +
                                   shapeText(tensor.shape) + " and " + shortest(factor));
    if (expr.kind == ExprKind::Div) {
      if (factor == 0)
        return error(expr.range, "divides by zero");
      factor = 1 / factor;
    }
    return node(GraphOp::Scale, {tensor.id}, tensor.shape, expr, {}, factor);
  }

  std::optional<Value> call(const Expr &expr) {
    struct Function {
      const char *name, *usage;
      size_t args;
      std::optional<Value> (SectionChecker::*check)(const Expr &);
    };
    static const Function functions[] = {
        {"embed", "embed(ids, W)", 2, &SectionChecker::embed},
        {"rms_norm", "rms_norm(x, w)", 2, &SectionChecker::rmsNorm},
        {"linear", "linear(x, W)", 2, &SectionChecker::linear},
        {"heads", "heads(x, count)", 2, &SectionChecker::heads},
        {"rope", "rope(x)", 1, &SectionChecker::rope},
        {"attention", "attention(q, k, v, causal)", 4, &SectionChecker::attention},
        {"silu", "silu(x)", 1, &SectionChecker::silu},
    };
    std::vector<std::string> words;
    for (const Function &function : functions) {
      words.push_back(function.name);
      if (expr.name != function.name)
        continue;
      if (expr.args.size() != function.args)
        return error(expr.range, std::string(function.usage) + " takes " +
                                     std::to_string(function.args) +
                                     (function.args == 1 ? " argument, got " : " arguments, got ") +
                                     std::to_string(expr.args.size()));
      return (this->*function.check)(expr);
    }
    Diagnostic &unknown = diags.error(expr.nameRange, "no operator is named '" + expr.name + "'");
    unknown.suggest(nearest(expr.name, words));
    unknown.note("operators: embed, rms_norm, linear, heads, rope, attention, silu, + - * /");
    return std::nullopt;
  }

  // The weight that an argument names; its kind and whether it belongs to a layer must fit.
  const BoundWeight *weightArgument(const Expr &expr, const std::string &function,
                                    std::initializer_list<WeightKind> kinds) {
    const BoundWeight *weight = expr.kind == ExprKind::Name ? findWeight(expr.name) : nullptr;
    if (!weight) {
      std::vector<std::string> words;
      for (const BoundWeight &w : names.weights)
        words.push_back(w.key);
      if (expr.kind == ExprKind::Name)
        diags.error(expr.range, "no weight is named '" + expr.name + "'")
            .suggest(nearest(expr.name, words));
      else
        error(expr.range, function + " expects the name of a weight");
      return nullptr;
    }
    if (std::find(kinds.begin(), kinds.end(), weight->kind) == kinds.end()) {
      diags
          .error(expr.range, function + " does not take '" + weight->key +
                                 "', which is of kind \"" + std::string(toString(weight->kind)) +
                                 "\"")
          .note(weight->range, "'" + weight->key + "' is described here");
      return nullptr;
    }
    if (weight->perLayer != (kind == SectionKind::Block)) {
      diags
          .error(expr.range,
                 weight->perLayer
                     ? "'" + weight->key + "' is one of each layer: only [block] can use it"
                     : "'" + weight->key +
                           "' is one for all layers: [block] needs {layer} in its names")
          .note(weight->range, "'" + weight->key + "' is described here");
      return nullptr;
    }
    return weight;
  }

  std::optional<Value> embed(const Expr &expr) {
    const Expr &ids = expr.args[0];
    if (kind != SectionKind::Embed || ids.kind != ExprKind::Name || ids.name != "ids")
      return error(expr.range, "embed(ids, W) stands in [embed] and takes 'ids'");
    const BoundWeight *weight = weightArgument(expr.args[1], "embed", {WeightKind::Embedding});
    if (!weight)
      return std::nullopt;
    return node(GraphOp::Embed, {TokenIds}, {weight->shape[1]}, expr, weight->key);
  }

  std::optional<Value> rmsNorm(const Expr &expr) {
    std::optional<Value> x = rows(expr.args[0], "rms_norm");
    const BoundWeight *weight = weightArgument(expr.args[1], "rms_norm", {WeightKind::Norm});
    if (!x || !weight)
      return std::nullopt;
    if (!names.symbols.count("rms_norm_eps"))
      return error(expr.range, "rms_norm needs the symbol 'rms_norm_eps' in [hyper]");
    if (x->shape != weight->shape)
      return mismatch(expr, *weight, weight->shape[0], x->shape);
    return node(GraphOp::RmsNorm, {x->id}, x->shape, expr, weight->key);
  }

  std::optional<Value> linear(const Expr &expr) {
    std::optional<Value> x = tensor(expr.args[0]);
    const BoundWeight *weight =
        weightArgument(expr.args[1], "linear", {WeightKind::Linear, WeightKind::Head});
    if (!x || !weight)
      return std::nullopt;
    if (weight->kind == WeightKind::Head && kind != SectionKind::Head)
      return error(expr.range, "'" + weight->key + "' is the head: only [head] can use it");
    if (x->shape != std::vector<int64_t>{weight->shape[1]})
      return mismatch(expr, *weight, weight->shape[1], x->shape);
    return node(GraphOp::Linear, {x->id}, {weight->shape[0]}, expr, weight->key);
  }

  std::nullopt_t mismatch(const Expr &expr, const BoundWeight &weight, int64_t want,
                          const std::vector<int64_t> &got) {
    std::string shape;
    for (int64_t n : weight.shape)
      shape += (shape.empty() ? "" : ", ") + std::to_string(n);
    diags
        .error(expr.range, expr.name + "(x, " + weight.key + ") expects [tokens, " +
                               std::to_string(want) + "], got " + shapeText(got))
        .note(weight.range, "'" + weight.key + "' is [" + shape + "]");
    return std::nullopt;
  }

  std::optional<Value> heads(const Expr &expr) {
    std::optional<Value> x = rows(expr.args[0], "heads");
    std::optional<Value> count = eval(expr.args[1]);
    if (!x || !count)
      return std::nullopt;
    if (!count->isNumber || count->number < 1 || count->number != std::floor(count->number))
      return error(expr.args[1].range, "heads(x, count) expects a whole number of heads");
    double n = static_cast<double>(x->shape[0]);
    if (std::fmod(n, count->number) != 0)
      return error(expr.range, std::to_string(x->shape[0]) + " columns do not divide into " +
                                   shortest(count->number) + " heads");
    int64_t heads = static_cast<int64_t>(count->number);
    return node(GraphOp::Heads, {x->id}, {heads, x->shape[0] / heads}, expr);
  }

  std::optional<Value> rope(const Expr &expr) {
    std::optional<Value> x = headed(expr.args[0], "rope");
    if (!x)
      return std::nullopt;
    if (!names.symbols.count("rope_theta"))
      return error(expr.range, "rope needs the symbol 'rope_theta' in [hyper]");
    if (x->shape[1] % 2 != 0)
      return error(expr.range,
                   "rope turns pairs: a head of " + std::to_string(x->shape[1]) + " is odd");
    return node(GraphOp::Rope, {x->id}, x->shape, expr);
  }

  std::optional<Value> attention(const Expr &expr) {
    std::optional<Value> q = headed(expr.args[0], "attention");
    std::optional<Value> k = headed(expr.args[1], "attention");
    std::optional<Value> v = headed(expr.args[2], "attention");
    const Expr &mask = expr.args[3];
    if (mask.kind != ExprKind::Name || mask.name != "causal")
      return error(mask.range, "attention(q, k, v, causal) is known with 'causal' only");
    if (!q || !k || !v)
      return std::nullopt;
    if (k->shape != v->shape)
      return error(expr.range, "attention expects k and v of one shape, got " +
                                   shapeText(k->shape) + " and " + shapeText(v->shape));
    if (q->shape[1] != k->shape[1])
      return error(expr.range, "attention expects heads of one size, got " + shapeText(q->shape) +
                                   " and " + shapeText(k->shape));
    if (q->shape[0] % k->shape[0] != 0)
      return error(expr.range, std::to_string(q->shape[0]) + " heads of q cannot share " +
                                   std::to_string(k->shape[0]) +
                                   " heads of k and v: the first must be a multiple of the second");
    Value out = node(GraphOp::Attention, {q->id, k->id, v->id}, {q->shape[0] * q->shape[1]}, expr);
    this->out.nodes.back().causal = true;
    return out;
  }

  std::optional<Value> silu(const Expr &expr) {
    std::optional<Value> x = tensor(expr.args[0]);
    if (!x)
      return std::nullopt;
    return node(GraphOp::Silu, {x->id}, x->shape, expr);
  }

  SectionKind kind;
  const GraphNames &names;
  GraphSection &out;
  Diagnostics &diags;
  std::map<std::string, Variable> variables;
  std::vector<std::string> broken;
};

} // namespace

bool checkSection(SectionKind kind, const GraphAst &ast, const GraphNames &names, GraphSection &out,
                  Diagnostics &diags) {
  return SectionChecker(kind, names, out, diags).run(ast);
}

} // namespace lorac::dsl
