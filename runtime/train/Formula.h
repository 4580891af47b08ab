#pragma once
// A formula of the host in postfix, as plan.json carries it: what an update is told follows from
// the learning rate and the number of the update (docs/design.md, "A step is programs").

#include <cstdint>
#include <string_view>
#include <variant>
#include <vector>

namespace lorac::train {

class Fields;

/// [1, "rate", 0.01, "*", "-"] is 1 - rate·0.01.
class Formula {
public:
  /// Reads numbers, the words `rate`, `update` and `weight_decay`, and the operators + - * / pow
  /// sqrt neg min max. An error at `in`: another word, an operator that lacks operands, more or
  /// less than one value at the end, more than 16 values at once.
  static Formula read(const Fields &in);
  void add(double number);
  /// Whether there is such a word.
  bool add(std::string_view word);
  /// Its numbers and words.
  std::vector<std::variant<double, std::string_view>> text() const;

  /// In float64, one operation after another. `rate` is that of the step, times the ratio of the
  /// group where it has one; `update` counts from 1; `weightDecay` is of the group.
  double evaluate(double rate, double update, double weightDecay = 0) const;

  /// What it takes of the heap.
  uint64_t bytes() const { return terms.capacity() * sizeof(Term); }

private:
  enum class Kind {
    Number,
    Rate,
    Update,
    WeightDecay,
    Add,
    Subtract,
    Multiply,
    Divide,
    Pow,
    Sqrt,
    Neg,
    Min,
    Max
  };
  struct Word;
  struct Term {
    Kind kind;
    double number;
  };
  std::vector<Term> terms;
};

} // namespace lorac::train
