#pragma once
// Writes the update of one element of a parameter: the body of a kernel of the family `each`. Each
// operation is one op of arith or math, in the order in which it is written; none is fused.

#include "compiler/optimizers/Host.h"
#include "mlir/IR/Region.h"

#include <string>
#include <vector>

namespace lorac::optimizers {

/// The numbers of `[optimizer]` that an update may use.
struct Keys {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;
};

class Update;

/// A number of the update, float32.
struct Element {
  Update *update = nullptr;
  mlir::Value value;
};
Element operator+(Element x, Element y);
Element operator-(Element x, Element y);
Element operator*(Element x, Element y);
Element operator/(Element x, Element y);
Element sqrt(Element x);
/// 1, 0 or -1; 0 of 0 and of NaN.
Element sign(Element x);

/// A number of the host that the kernel reads. `byGroup`: one for each rate group.
struct Scalar {
  std::string name;
  Host formula;
  bool byGroup = false;
};

class Update {
public:
  /// `states`: the optimizer's, by name. The body's arguments are the parameter, its gradient and
  /// the states, the clip factor, then scalars as they are asked for: those of all groups, then
  /// those of the element's group.
  Update(mlir::OpBuilder &builder, mlir::Location loc, mlir::Region &body,
         llvm::ArrayRef<llvm::StringRef> states, const Keys &keys);

  const Keys keys;
  Element param() { return element(0); }
  Element grad() { return gradient; } ///< after clipping
  Element state(unsigned i) { return element(2 + i); }

  Element number(double value);
  Element scalar(llvm::StringRef name, const Host &formula) { return ask(name, formula, false); }
  /// `Host::rate()` is the rate of the element's group here.
  Element byGroup(llvm::StringRef name, const Host &formula) { return ask(name, formula, true); }

  /// The new parameter, and the new states in order.
  void give(Element param, llvm::ArrayRef<Element> states);

  /// What was asked for, in the order of the body's arguments.
  const std::vector<Scalar> &ofAll() const { return uniform; }
  const std::vector<Scalar> &ofGroups() const { return grouped; }

  mlir::OpBuilder &builder() { return b; }
  mlir::Location location() const { return loc; }

private:
  mlir::Location called(llvm::StringRef name); ///< for the reader of the kernel
  Element element(unsigned argument) { return {this, block->getArgument(argument)}; }
  Element ask(llvm::StringRef name, const Host &formula, bool byGroup);

  mlir::OpBuilder b;
  mlir::Location loc;
  mlir::Block *block;
  size_t elements; ///< arguments that are no scalars
  std::vector<Scalar> uniform, grouped;
  Element gradient;
};

} // namespace lorac::optimizers
