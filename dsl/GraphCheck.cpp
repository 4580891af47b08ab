#include "dsl/GraphCheck.h"

#include "dsl/Bounds.h"
#include "dsl/Functions.h"
#include "dsl/Text.h"

#include <algorithm>
#include <cmath>

namespace lorac::dsl {

std::string_view toString(SectionKind kind) {
  static constexpr std::string_view words[] = {"embed", "block", "head"};
  return words[static_cast<int>(kind)];
}

std::optional<GraphOp> elementwiseOp(ExprKind kind) {
  switch (kind) {
  case ExprKind::Add:
    return GraphOp::Add;
  case ExprKind::Sub:
    return GraphOp::Sub;
  case ExprKind::Mul:
    return GraphOp::Mul;
  case ExprKind::Div:
    return GraphOp::Div;
  case ExprKind::Neg:
    return GraphOp::Neg;
  case ExprKind::Call:
    return GraphOp::Function;
  default:
    return std::nullopt;
  }
}

namespace {

using Symbols = std::map<std::string, double>;

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string out = "[tokens";
  for (int64_t n : shape)
    out += ", " + std::to_string(n);
  return out + "]";
}

// What an expression is: a number, or the result of a node; `isRow`: [n], for all tokens.
struct Value {
  bool isNumber = false;
  double number = 0;
  int id = 0;
  std::vector<int64_t> shape;
  bool isRow = false;
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
    if (diags.errors() == before && kind == SectionKind::Head)
      headProduct();
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
    if (value->isRow) {
      error(statement.value.range, "'" + name +
                                       "' would be a row for all tokens: a statement "
                                       "gives a tensor");
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

  // The loss goes by chunks of logits: one product makes them, and what follows it is elementwise.
  void headProduct() {
    std::vector<bool> after(out.nodes.size(), false);
    for (size_t id = 0; id < out.nodes.size(); ++id) {
      const GraphNode &node = out.nodes[id];
      const BoundWeight *weight = findWeight(node.weight);
      if (node.op == GraphOp::Linear && weight && weight->kind == WeightKind::Head) {
        if (out.product != SectionInput)
          return (void)error(node.range, "[head] has one product with a weight of kind \"head\"");
        if (weight->shape[1] != names.hiddenSize)
          return (void)diags
              .error(node.range,
                     "the head's product takes the " + std::to_string(names.hiddenSize) +
                         " columns of hidden_size, got " + std::to_string(weight->shape[1]))
              .note(weight->range, "'" + weight->key + "' is described here");
        out.product = static_cast<int>(id);
        after[id] = true;
        continue;
      }
      auto isAfter = [&](int input) { return input >= 0 && after[input]; };
      auto isFit = [&](int input) {
        return isAfter(input) || (input >= 0 && out.nodes[input].op == GraphOp::Number);
      };
      after[id] = std::any_of(node.inputs.begin(), node.inputs.end(), isAfter);
      if (after[id] &&
          !(isElementwise(node.op) && std::all_of(node.inputs.begin(), node.inputs.end(), isFit)))
        return (void)error(node.range, "what follows the head's product is elementwise, of it and "
                                       "numbers alone");
    }
    if (!after[out.output])
      error(out.nodes[out.output].range,
            "[head] ends in linear(x, W) with a weight of kind \"head\"");
  }

  const BoundWeight *findWeight(std::string_view name) const {
    auto it = std::find_if(names.weights.begin(), names.weights.end(),
                           [&](auto &w) { return w.key == name; });
    return it == names.weights.end() ? nullptr : &*it;
  }

  std::optional<Value> eval(const Expr &expr) {
    switch (expr.kind) {
    case ExprKind::Number:
      return number(expr.number);
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
      return number(it->second);
    if (std::find(broken.begin(), broken.end(), expr.name) != broken.end())
      return std::nullopt;
    if (const BoundWeight *weight = findWeight(expr.name);
        weight && weight->kind == WeightKind::Row)
      return row(expr, *weight);
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

  static Value number(double value) { return {true, value, 0, {}}; }

  std::optional<Value> row(const Expr &expr, const BoundWeight &weight) {
    if (!isOfSection(expr, weight))
      return std::nullopt;
    Value value = node(GraphOp::Row, {}, weight.shape, expr, weight.key);
    value.isRow = true;
    return value;
  }

  std::optional<Value> tensor(const Expr &expr) {
    std::optional<Value> value = eval(expr);
    if (value && value->isNumber)
      return error(expr.range, "expects a tensor, got the number " + shortest(value->number));
    if (value && value->isRow)
      return error(expr.range, "expects a tensor, got a row for all tokens");
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
             std::string weight = {}) {
    GraphNode node{op, std::move(inputs), std::move(weight), shape};
    node.range = expr.range;
    out.nodes.push_back(std::move(node));
    return {false, 0, static_cast<int>(out.nodes.size()) - 1, std::move(shape)};
  }

  // The value as an operand of an elementwise node.
  std::optional<int> operand(const Value &value, const Expr &expr) {
    if (!value.isNumber)
      return value.id;
    if (!fitsFloat32(value.number))
      return error(expr.range, notOfFloat32(value.number));
    int id = node(GraphOp::Number, {}, {}, expr).id;
    out.nodes.back().number = value.number;
    return id;
  }

  static std::string notOfFloat32(double number) {
    return "the number " + shortest(number) + " is " +
           (std::abs(number) < 1 ? "0" : "no finite one") + " in float32, in which kernels compute";
  }

  std::optional<Value> negate(const Expr &expr) {
    std::optional<Value> value = eval(expr.args[0]);
    if (!value)
      return std::nullopt;
    if (value->isNumber)
      return number(-value->number);
    if (value->isRow)
      return error(expr.range, "a row for all tokens stands beside a tensor");
    return node(GraphOp::Neg, {value->id}, value->shape, expr);
  }

  std::optional<Value> binary(const Expr &expr) {
    std::optional<Value> left = eval(expr.args[0]);
    std::optional<Value> right = eval(expr.args[1]);
    if (!left || !right)
      return std::nullopt;
    if (left->isNumber && right->isNumber) {
      std::optional<double> value = arithmetic(expr, left->number, right->number, diags);
      return value ? std::optional<Value>(number(*value)) : std::nullopt;
    }
    const std::optional<GraphOp> op = elementwiseOp(expr.kind);
    if (!op)
      return error(expr.range, "tensors have + - * /; the others are of numbers");
    if (expr.kind == ExprKind::Div && right->isNumber && right->number == 0)
      return error(expr.range, "divides by zero");
    auto isWhole = [](const Value &value) { return !value.isNumber && !value.isRow; };
    if (!isWhole(*left) && !isWhole(*right))
      return error(expr.range, "a row for all tokens stands beside a tensor");
    const Value &whole = isWhole(*left) ? *left : *right;
    for (const Value *value : {&*left, &*right})
      if (!value->isNumber && value->shape != whole.shape) {
        return error(expr.range, "expects two tensors of one shape, or a tensor and a row as long, "
                                 "got " +
                                     shown(*left) + " and " + shown(*right));
      }
    const std::optional<int> first = operand(*left, expr.args[0]),
                             second = operand(*right, expr.args[1]);
    if (!first || !second)
      return std::nullopt;
    return node(*op, {*first, *second}, whole.shape, expr);
  }

  static std::string shown(const Value &value) {
    return value.isRow ? "[" + std::to_string(value.shape[0]) + "]" : shapeText(value.shape);
  }

  std::optional<Value> call(const Expr &expr) {
    struct Operator {
      const char *name, *usage;
      size_t args; ///< those without a label
      std::vector<std::string_view> labels;
      std::optional<Value> (SectionChecker::*check)(const Expr &);
    };
    static const Operator operators[] = {
        {"embed", "embed(ids, W)", 2, {}, &SectionChecker::embed},
        {"rms_norm", "rms_norm(x, w, eps)", 3, {}, &SectionChecker::rmsNorm},
        {"linear", "linear(x, W)", 2, {}, &SectionChecker::linear},
        {"heads", "heads(x, count)", 2, {}, &SectionChecker::heads},
        {"rope", "rope(x, frequencies)", 2, {}, &SectionChecker::rope},
        {"attention",
         "attention(q, k, v, causal, scale = number)",
         4,
         {"scale", "window", "softcap"},
         &SectionChecker::attention}};
    if (const Function *function = findFunction(expr.name))
      return elementwise(expr, *function);
    std::vector<std::string> words = functionNames();
    for (const Operator &one : operators) {
      words.push_back(one.name);
      if (expr.name != one.name)
        continue;
      size_t plain = 0;
      for (const Expr &arg : expr.args)
        if (arg.label.empty())
          ++plain;
        else if (std::find(one.labels.begin(), one.labels.end(), arg.label) == one.labels.end())
          return error(arg.range, std::string(one.usage) + " has no '" + arg.label + "'");
        else if (std::count_if(expr.args.begin(), expr.args.end(),
                               [&](const Expr &other) { return other.label == arg.label; }) > 1)
          return error(arg.range, "'" + arg.label + "' is given twice");
      if (plain != one.args)
        return error(expr.range, std::string(one.usage) + " takes " + std::to_string(one.args) +
                                     (one.args == 1 ? " argument, got " : " arguments, got ") +
                                     std::to_string(plain));
      for (size_t i = 0; i < one.args; ++i)
        if (!expr.args[i].label.empty())
          return error(expr.args[i].range, "arguments with a name stand behind those without: " +
                                               std::string(one.usage));
      return (this->*one.check)(expr);
    }
    std::string list;
    for (const std::string &name : functionNames())
      list += ", " + name;
    Diagnostic &unknown = diags.error(expr.nameRange, "no operator is named '" + expr.name + "'");
    unknown.suggest(nearest(expr.name, words));
    unknown.note("operators: embed, rms_norm, linear, heads, rope, attention" + list + ", + - * /");
    return std::nullopt;
  }

  std::optional<Value> elementwise(const Expr &expr, const Function &function) {
    if (std::string wrong = wrongArguments(expr); !wrong.empty())
      return error(expr.range, wrong);
    std::optional<Value> x = eval(expr.args[0]);
    if (!x)
      return std::nullopt;
    if (x->isRow)
      return error(expr.args[0].range, "a row for all tokens stands beside a tensor");
    if (x->isNumber)
      return number(valueOf(function, x->number));
    Value y = node(GraphOp::Function, {x->id}, x->shape, expr);
    out.nodes.back().function = &function;
    return y;
  }

  // A number that an operator asks for.
  std::optional<double> numberArgument(const Expr &expr, const std::string &what, bool isPositive) {
    std::optional<Value> value = eval(expr);
    if (!value)
      return std::nullopt;
    if (!value->isNumber || !std::isfinite(value->number) || value->number < 0 ||
        (isPositive && value->number == 0))
      return error(expr.range,
                   what + " is a " + (isPositive ? "positive number" : "number of at least 0"));
    if (!fitsFloat32(value->number))
      return error(expr.range, notOfFloat32(value->number));
    return value->number;
  }

  static const Expr *labelled(const Expr &expr, std::string_view label) {
    for (const Expr &arg : expr.args)
      if (arg.label == label)
        return &arg;
    return nullptr;
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
    return isOfSection(expr, *weight) ? weight : nullptr;
  }

  // Whether a weight is of each layer where the section is.
  bool isOfSection(const Expr &expr, const BoundWeight &weight) {
    if (weight.perLayer == (kind == SectionKind::Block))
      return true;
    diags
        .error(expr.range, weight.perLayer
                               ? "'" + weight.key +
                                     "' is one of each layer: only [block] can use "
                                     "it"
                               : "'" + weight.key +
                                     "' is one for all layers: [block] needs {layer} in its names")
        .note(weight.range, "'" + weight.key + "' is described here");
    return false;
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

  // Along the last dimension: of [tokens, heads, d] head by head.
  std::optional<Value> rmsNorm(const Expr &expr) {
    std::optional<Value> x = tensor(expr.args[0]);
    const BoundWeight *weight = weightArgument(expr.args[1], "rms_norm", {WeightKind::Norm});
    std::optional<double> eps = numberArgument(expr.args[2], "eps of rms_norm", true);
    if (!x || !weight || !eps)
      return std::nullopt;
    if (x->shape.back() != weight->shape[0])
      return mismatch(expr, *weight, weight->shape[0], x->shape);
    Value y = node(GraphOp::RmsNorm, {x->id}, x->shape, expr, weight->key);
    out.nodes.back().number = *eps;
    return y;
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
                               (expr.name == "rms_norm" ? ".., " : "") + std::to_string(want) +
                               "], got " + shapeText(got))
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
    const Expr &name = expr.args[1];
    const RopeFrequencies *found = nullptr;
    std::vector<std::string> words;
    for (const RopeFrequencies &table : names.ropes) {
      words.push_back(table.name);
      if (name.kind == ExprKind::Name && table.name == name.name)
        found = &table;
    }
    if (!found) {
      Diagnostic &unknown = diags.error(
          name.range, "rope(x, frequencies) expects the name of a [rope.NAME] of this file");
      if (name.kind == ExprKind::Name)
        unknown.suggest(nearest(name.name, words));
      return std::nullopt;
    }
    if (!x)
      return std::nullopt;
    if (x->shape[1] != 2 * static_cast<int64_t>(found->inverse.size()))
      return error(expr.range, "[rope." + found->name + "] turns heads of " +
                                   std::to_string(2 * found->inverse.size()) + ", got " +
                                   shapeText(x->shape));
    Value y = node(GraphOp::Rope, {x->id}, x->shape, expr);
    out.nodes.back().frequencies = found->name;
    return y;
  }

  std::optional<Value> attention(const Expr &expr) {
    std::optional<Value> q = headed(expr.args[0], "attention");
    std::optional<Value> k = headed(expr.args[1], "attention");
    std::optional<Value> v = headed(expr.args[2], "attention");
    const Expr &mask = expr.args[3];
    if (mask.kind != ExprKind::Name || mask.name != "causal")
      return error(mask.range, "attention(q, k, v, causal) is known with 'causal' only");
    const Expr *scale = labelled(expr, "scale"), *window = labelled(expr, "window"),
               *softcap = labelled(expr, "softcap");
    if (!scale)
      return error(expr.range, "attention needs 'scale', as in scale = 1 / sqrt(head_dim)");
    std::optional<double> factor = numberArgument(*scale, "'scale'", true), keys = 0, cap = 0;
    if (window)
      keys = numberArgument(*window, "'window'", false);
    if (softcap)
      cap = numberArgument(*softcap, "'softcap'", false);
    if (!q || !k || !v || !factor || !keys || !cap)
      return std::nullopt;
    if (*keys != std::floor(*keys) || *keys >= 0x1p31)
      return error(window->range, "'window' is a whole number of keys");
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
    GraphNode &made = this->out.nodes.back();
    made.number = *factor;
    made.window = static_cast<int64_t>(*keys);
    made.softcap = *cap;
    return out;
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
