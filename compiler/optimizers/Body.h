#pragma once
// Writes the body of a kernel with operators: each is one op of arith or math, in the order in
// which it is written; none is fused.

#include "mlir/IR/Builders.h"

namespace lorac::optimizers {

class Body;

/// A number of the body.
struct Element {
  Body *body = nullptr;
  mlir::Value value;
};
Element operator+(Element x, Element y);
Element operator-(Element x, Element y);
Element operator*(Element x, Element y);
Element operator/(Element x, Element y);
Element sqrt(Element x);
Element abs(Element x);
/// 1, 0 or -1; 0 of 0 and of NaN.
Element sign(Element x);
/// `x < y ? x : y`.
Element min(Element x, Element y);
/// `x > y ? x : y`.
Element max(Element x, Element y);
Element select(Element condition, Element x, Element y);
Element operator<(Element x, Element y); ///< a condition; false where either is NaN
Element widened(Element x);              ///< float32 to float64
Element narrowed(Element x);             ///< float64 to float32, rounded once

class Body {
public:
  Body(mlir::OpBuilder &builder, mlir::Location loc);

  /// The next argument; `name` is for the reader of the kernel.
  Element argument(llvm::StringRef name, mlir::Type type);
  Element argument(llvm::StringRef name) { return argument(name, b.getF32Type()); }
  Element number(double value); ///< float32
  void yield(llvm::ArrayRef<Element> results);

  mlir::Region region; ///< what is written
  mlir::OpBuilder &builder() { return b; }
  mlir::Location location() const { return loc; }

protected:
  mlir::Location called(llvm::StringRef name);

  mlir::OpBuilder b;
  mlir::Location loc;
  mlir::Block *block;
};

} // namespace lorac::optimizers
