#include "compiler/optimizers/Body.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::optimizers;

template <typename Op, typename... Operands>
static Element make(Element x, Operands... operands) {
  return {x.body, Op::create(x.body->builder(), x.body->location(), operands...)};
}

Element optimizers::operator+(Element x, Element y) {
  return make<arith::AddFOp>(x, x.value, y.value);
}
Element optimizers::operator-(Element x, Element y) {
  return make<arith::SubFOp>(x, x.value, y.value);
}
Element optimizers::operator*(Element x, Element y) {
  return make<arith::MulFOp>(x, x.value, y.value);
}
Element optimizers::operator/(Element x, Element y) {
  return make<arith::DivFOp>(x, x.value, y.value);
}
Element optimizers::sqrt(Element x) { return make<math::SqrtOp>(x, x.value); }
Element optimizers::abs(Element x) { return make<math::AbsFOp>(x, x.value); }

Element optimizers::sign(Element x) {
  Element zero = x.body->number(0), one = x.body->number(1), minusOne = x.body->number(-1);
  Element isUp = zero < x, isDown = x < zero;
  Element down = select(isDown, minusOne, zero);
  return select(isUp, one, down);
}

Element optimizers::min(Element x, Element y) {
  return make<arith::MinimumFOp>(x, x.value, y.value);
}
Element optimizers::max(Element x, Element y) {
  return make<arith::MaximumFOp>(x, x.value, y.value);
}
Element optimizers::select(Element condition, Element x, Element y) {
  return make<arith::SelectOp>(x, condition.value, x.value, y.value);
}
Element optimizers::operator<(Element x, Element y) {
  return make<arith::CmpFOp>(x, arith::CmpFPredicate::OLT, x.value, y.value);
}
Element optimizers::widened(Element x) {
  return make<arith::ExtFOp>(x, Float64Type::get(x.value.getContext()), x.value);
}
Element optimizers::narrowed(Element x) {
  return make<arith::TruncFOp>(x, Float32Type::get(x.value.getContext()), x.value);
}

Body::Body(OpBuilder &builder, Location loc)
    : b(builder), loc(loc), block(b.createBlock(&region)) {}

Location Body::called(StringRef name) { return NameLoc::get(b.getStringAttr(name), loc); }

Element Body::argument(StringRef name, Type type) {
  return {this, block->addArgument(type, called(name))};
}

Element Body::number(double value) {
  return {this, arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value)))};
}

void Body::yield(ArrayRef<Element> results) {
  SmallVector<Value> values;
  for (Element result : results)
    values.push_back(result.value);
  lora::YieldOp::create(b, loc, values);
}
