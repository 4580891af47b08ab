#pragma once
// A number that the host computes before each update, as a formula in postfix: numbers, `rate` (the
// learning rate of the step, of the parameter's group), `weight_decay` (of that group) and `update`
// (which counts from 1). It is computed in float64 and rounded to float32 once, so no number of a
// spec is in a kernel.

#include "mlir/IR/Builders.h"

#include <variant>

namespace lorac::optimizers {

class Host {
public:
  Host(double number) : terms{number} {}
  static Host rate() { return Host("rate"); }
  static Host update() { return Host("update"); }
  static Host weightDecay() { return Host("weight_decay"); } ///< of the parameter's group

  /// Whether it has another value in each group at one rate.
  bool isOfGroup() const;
  /// The terms as `lora.scalar` has them: f64 numbers and words.
  mlir::ArrayAttr attribute(mlir::Builder &b) const;

  friend Host operator+(const Host &x, const Host &y) { return Host(x, y, "+"); }
  friend Host operator-(const Host &x, const Host &y) { return Host(x, y, "-"); }
  friend Host operator*(const Host &x, const Host &y) { return Host(x, y, "*"); }
  friend Host operator/(const Host &x, const Host &y) { return Host(x, y, "/"); }
  friend Host pow(const Host &x, const Host &y) { return Host(x, y, "pow"); }
  friend Host sqrt(const Host &x) { return Host(x, "sqrt"); }
  friend Host operator-(const Host &x) { return Host(x, "neg"); }

private:
  using Term = std::variant<double, const char *>;
  explicit Host(const char *word) : terms{word} {}
  Host(const Host &x, const char *what) : terms(x.terms) { terms.push_back(what); }
  Host(const Host &x, const Host &y, const char *what) : terms(x.terms) {
    terms.append(y.terms.begin(), y.terms.end());
    terms.push_back(what);
  }

  llvm::SmallVector<Term, 8> terms;
};

} // namespace lorac::optimizers
