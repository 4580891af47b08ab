#pragma once
// Writes the update of one element of a parameter: the body of a kernel of the family `each`.

#include "compiler/optimizers/Body.h"
#include "compiler/optimizers/Host.h"

#include <string>
#include <vector>

namespace lorac::optimizers {

/// The numbers of `[optimizer]` that an update may use.
struct Keys {
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8, weightDecay = 0;
  double momentum = 0;   ///< 0: there is no state
  bool nesterov = false; ///< sgd
  // adafactor
  double firstBeta = 0; ///< 0: there is no average
  double clipThreshold = 1, decayRate = -0.8;
  bool scaleParameter = false, relativeStep = false;
};

/// A number of the host that the kernel reads.
struct Scalar {
  std::string name;
  Host formula;
};

class Update : public Body {
public:
  /// `states`: what it reads beside the parameter and its gradient, by name; a float32 of each
  /// element, or of its row, its column, its parameter. The body's arguments are the parameter, its
  /// gradient and those, the clip factor and other numbers of all parameters as they are asked for,
  /// then scalars as they are asked for: those of all groups, then those of the element's group.
  Update(mlir::OpBuilder &builder, mlir::Location loc, llvm::ArrayRef<llvm::StringRef> states,
         const Keys &keys);

  const Keys keys;
  const llvm::SmallVector<llvm::StringRef> states;
  Element param() { return element(0); }
  Element grad() { return gradient; } ///< after clipping
  Element state(unsigned i) { return element(2 + i); }
  Element read(llvm::StringRef state);

  /// A number that a step before wrote: a state of one number, or what became of a sum.
  Element one(llvm::StringRef name);
  Element scalar(llvm::StringRef name, const Host &formula);
  /// `Host::rate()` is the rate of the element's group here.
  Element byGroup(llvm::StringRef name, const Host &formula);

  /// The new parameter, and the new states in order; those that are left out stay.
  void give(Element param, llvm::ArrayRef<Element> states);
  /// The new states alone.
  void give(llvm::ArrayRef<Element> states);

  /// What was asked for, in the order of the body's arguments.
  const std::vector<std::string> &ones() const { return asked; } ///< the clip factor first
  const std::vector<Scalar> &ofAll() const { return uniform; }
  const std::vector<Scalar> &ofGroups() const { return grouped; }
  /// What was given.
  bool givesParam() const { return writesParam; }
  unsigned statesGiven() const { return writtenStates; }

private:
  Element element(unsigned argument) { return {this, block->getArgument(argument)}; }
  Element insert(llvm::StringRef name, size_t at);

  std::vector<std::string> asked;
  std::vector<Scalar> uniform, grouped;
  Element gradient;
  bool writesParam = false;
  unsigned writtenStates = 0;
};

} // namespace lorac::optimizers
