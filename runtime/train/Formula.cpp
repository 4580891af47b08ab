#include "runtime/train/Formula.h"

#include "runtime/train/JsonFields.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>

namespace lorac::train {

namespace {
constexpr size_t mostAtOnce = 16;
}

struct Formula::Word {
  const char *text;
  Kind kind;
  size_t operands;

  /// In the order of `Kind`, which has numbers before them.
  static std::span<const Word> all() {
    static constexpr Word words[] = {{"rate", Kind::Rate, 0},
                                     {"update", Kind::Update, 0},
                                     {"weight_decay", Kind::WeightDecay, 0},
                                     {"+", Kind::Add, 2},
                                     {"-", Kind::Subtract, 2},
                                     {"*", Kind::Multiply, 2},
                                     {"/", Kind::Divide, 2},
                                     {"pow", Kind::Pow, 2},
                                     {"sqrt", Kind::Sqrt, 1},
                                     {"neg", Kind::Neg, 1},
                                     {"min", Kind::Min, 2},
                                     {"max", Kind::Max, 2}};
    return words;
  }
  static const Word *find(std::string_view text) {
    auto word = std::find_if(all().begin(), all().end(),
                             [&](const Word &each) { return text == each.text; });
    return word == all().end() ? nullptr : &*word;
  }
};

void Formula::add(double number) { terms.push_back({Kind::Number, number}); }

bool Formula::add(std::string_view word) {
  const Word *known = Word::find(word);
  if (known)
    terms.push_back({known->kind, 0});
  return known != nullptr;
}

std::vector<std::variant<double, std::string_view>> Formula::text() const {
  std::vector<std::variant<double, std::string_view>> out;
  for (const Term &term : terms)
    if (term.kind == Kind::Number)
      out.emplace_back(term.number);
    else
      out.emplace_back(std::string_view(Word::all()[size_t(term.kind) - 1].text));
  return out;
}

Formula Formula::read(const Fields &in) {
  Formula formula;
  size_t depth = 0;
  in.forEach([&](const Fields &term) {
    size_t operands = 0;
    if (term.json().is_string()) {
      const std::string text = term.asText();
      const Word *word = Word::find(text);
      if (!word)
        return term.fail(
            "is '" + text +
            "'; known: rate, update, weight_decay, + - * / pow sqrt neg min max and numbers");
      operands = word->operands;
      if (depth < operands)
        return term.fail("lacks operands of '" + text + "'");
      formula.add(text);
    } else {
      formula.add(term.asNumber());
    }
    depth = depth - operands + 1;
    if (depth > mostAtOnce)
      term.fail("makes more than " + std::to_string(mostAtOnce) + " values at once");
  });
  if (depth != 1)
    in.fail("leaves " + std::to_string(depth) + " values, not one");
  return formula;
}

double Formula::evaluate(double rate, double update, double weightDecay) const {
  std::array<double, mostAtOnce> stack{};
  size_t depth = 0;
  for (const Term &term : terms) {
    const auto value = [&]() -> double {
      switch (term.kind) {
      case Kind::Number:
        return term.number;
      case Kind::Rate:
        return rate;
      case Kind::Update:
        return update;
      case Kind::WeightDecay:
        return weightDecay;
      default:
        break;
      }
      const double b = stack[--depth];
      if (term.kind == Kind::Sqrt)
        return std::sqrt(b);
      if (term.kind == Kind::Neg)
        return -b;
      const double a = stack[--depth];
      switch (term.kind) {
      case Kind::Add:
        return a + b;
      case Kind::Subtract:
        return a - b;
      case Kind::Multiply:
        return a * b;
      case Kind::Divide:
        return a / b;
      case Kind::Pow:
        return std::pow(a, b);
      case Kind::Min:
        return std::min(a, b);
      default:
        return std::max(a, b);
      }
    }();
    stack[depth++] = value;
  }
  return stack[0];
}

} // namespace lorac::train
