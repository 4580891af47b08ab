#include "compiler/optimizers/Update.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace lorac::optimizers;

template <typename Op, typename... Operands>
static Element make(Element x, Operands... operands) {
  return {x.update, Op::create(x.update->builder(), x.update->location(), operands...)};
}

Element lorac::optimizers::operator+(Element x, Element y) {
  return make<arith::AddFOp>(x, x.value, y.value);
}
Element lorac::optimizers::operator-(Element x, Element y) {
  return make<arith::SubFOp>(x, x.value, y.value);
}
Element lorac::optimizers::operator*(Element x, Element y) {
  return make<arith::MulFOp>(x, x.value, y.value);
}
Element lorac::optimizers::operator/(Element x, Element y) {
  return make<arith::DivFOp>(x, x.value, y.value);
}
Element lorac::optimizers::sqrt(Element x) { return make<math::SqrtOp>(x, x.value); }

Element lorac::optimizers::sign(Element x) {
  Update &u = *x.update;
  Element zero = u.number(0), one = u.number(1), minusOne = u.number(-1);
  Element isUp = make<arith::CmpFOp>(x, arith::CmpFPredicate::OLT, zero.value, x.value);
  Element isDown = make<arith::CmpFOp>(x, arith::CmpFPredicate::OLT, x.value, zero.value);
  Element down = make<arith::SelectOp>(x, isDown.value, minusOne.value, zero.value);
  return make<arith::SelectOp>(x, isUp.value, one.value, down.value);
}

Update::Update(OpBuilder &builder, Location loc, Region &body, ArrayRef<StringRef> states,
               const Keys &keys)
    : keys(keys), b(builder), loc(loc), elements(2 + states.size()) {
  block = b.createBlock(&body);
  auto add = [&](StringRef name) { block->addArgument(b.getF32Type(), called(name)); };
  add("param"), add("grad");
  for (StringRef state : states)
    add(state);
  add("clip");
  gradient = element(1) * element(elements);
}

Location Update::called(StringRef name) { return NameLoc::get(b.getStringAttr(name), loc); }

Element Update::number(double value) {
  return {this, arith::ConstantOp::create(b, loc, b.getF32FloatAttr(float(value)))};
}

Element Update::ask(StringRef name, const Host &formula, bool isByGroup) {
  const unsigned at = elements + 1 + uniform.size() + (isByGroup ? grouped.size() : 0);
  (isByGroup ? grouped : uniform).push_back({name.str(), formula, isByGroup});
  return {this, block->insertArgument(at, b.getF32Type(), called(name))};
}

void Update::give(Element param, ArrayRef<Element> states) {
  SmallVector<Value> values{param.value};
  for (Element state : states)
    values.push_back(state.value);
  lora::YieldOp::create(b, loc, values);
}
