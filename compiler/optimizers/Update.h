#pragma once
// Writes the update of one element of a parameter: the body of a kernel of the family `each`.

#include "compiler/optimizers/Body.h"
#include "compiler/optimizers/Host.h"

#include <string>
#include <vector>

namespace lorac::optimizers {

/// The numbers of `[optimizer]` that an update may use.
struct Keys {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  Host weightDecay = 0; ///< a number, or each group's
};

/// A number of the host that the kernel reads.
struct Scalar {
  std::string name;
  Host formula;
};

class Update : public Body {
public:
  /// `states`: one float32 of each element each, by name. The body's arguments are the parameter,
  /// its gradient and the states, the clip factor, then scalars as they are asked for: those of all
  /// groups, then those of the element's group.
  Update(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<llvm::StringRef> states,
         const Keys &keys);

  const Keys keys;
  const llvm::ArrayRef<llvm::StringRef> states;
  Element param() { return element(0); }
  Element grad() { return gradient; } ///< after clipping
  Element state(unsigned i) { return element(2 + i); }

  /// One for all parameters; `byGroup` where it is of the group.
  Element scalar(llvm::StringRef name, const Host &formula);
  /// `Host::rate()` is the rate of the element's group here.
  Element byGroup(llvm::StringRef name, const Host &formula);

  /// The new parameter, and the new states in order.
  void give(Element param, llvm::ArrayRef<Element> states);
  /// The new states alone.
  void give(llvm::ArrayRef<Element> states) { yield(states); }

  /// What was asked for, in the order of the body's arguments.
  const std::vector<Scalar> &ofAll() const { return uniform; }
  const std::vector<Scalar> &ofGroups() const { return grouped; }

private:
  Element element(unsigned argument) { return {this, block->getArgument(argument)}; }
  Element ask(llvm::StringRef name, const Host &formula, std::vector<Scalar> &list, size_t at);

  std::vector<Scalar> uniform, grouped;
  Element gradient;
};

} // namespace lorac::optimizers
