// Reverse mode over scalar arithmetic: one rule an op, accumulated in reverse order.

#include "compiler/dialect/ScalarGradient.h"
#include "compiler/dialect/LoraOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/ErrorHandling.h"

using namespace mlir;

namespace {
// A scalar value, for the formulas of dsl/Functions.def.
struct Term {
  OpBuilder &b;
  Location loc;
  Value value;

  Term constant(double x) const {
    return {b, loc, arith::ConstantOp::create(b, loc, b.getF32FloatAttr(x))};
  }
};
#define LORAC_OPERATOR(sign, op)                                                                   \
  Term operator sign(Term x, Term y) {                                                             \
    return {x.b, x.loc, arith::op::create(x.b, x.loc, x.value, y.value)};                          \
  }                                                                                                \
  [[maybe_unused]] Term operator sign(double x, Term y) { return y.constant(x) sign y; }           \
  [[maybe_unused]] Term operator sign(Term x, double y) { return x sign x.constant(y); }
LORAC_OPERATOR(+, AddFOp)
LORAC_OPERATOR(-, SubFOp)
LORAC_OPERATOR(*, MulFOp)
LORAC_OPERATOR(/, DivFOp)
#undef LORAC_OPERATOR
Term operator-(Term x) { return {x.b, x.loc, arith::NegFOp::create(x.b, x.loc, x.value)}; }
Term exp(Term x) { return {x.b, x.loc, math::ExpOp::create(x.b, x.loc, x.value)}; }

struct Reverse {
  OpBuilder &b;
  Location loc;
  llvm::DenseMap<Value, Value> gradient{};

  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value neg(Value x) { return arith::NegFOp::create(b, loc, x); }

  void add(Value of, Value value) {
    Value &sum = gradient[of];
    sum = sum ? Value(arith::AddFOp::create(b, loc, sum, value)) : value;
  }

  Term term(Value value) { return {b, loc, value}; }

  void visit(Operation *op, Value g) {
    llvm::TypeSwitch<Operation *>(op)
        .Case([&](arith::AddFOp o) { add(o.getLhs(), g), add(o.getRhs(), g); })
        .Case([&](arith::SubFOp o) { add(o.getLhs(), g), add(o.getRhs(), neg(g)); })
        .Case([&](arith::MulFOp o) {
          add(o.getLhs(), mul(g, o.getRhs())), add(o.getRhs(), mul(g, o.getLhs()));
        })
        .Case([&](arith::DivFOp o) { // d(x/y) = dx/y - (x/y)·dy/y
          Value share = div(g, o.getRhs());
          add(o.getLhs(), share);
          add(o.getRhs(), neg(mul(share, o.getResult())));
        })
        .Case([&](arith::NegFOp o) { add(o.getOperand(), neg(g)); })
#define LORAC_SCALAR(name, Op, reference, slope, vector)                                           \
  .Case([&](Op o) {                                                                                \
    [[maybe_unused]] const Term x = term(o.getOperand()), y = term(o.getResult());                 \
    add(o.getOperand(), [&](Term g) -> Term { return slope; }(term(g)).value);                     \
  })
#include "dsl/Functions.def"
        .Case([&](arith::SelectOp o) { // to the one that was taken
          Value zero = arith::ConstantOp::create(b, loc, b.getF32FloatAttr(0));
          add(o.getTrueValue(), arith::SelectOp::create(b, loc, o.getCondition(), g, zero));
          add(o.getFalseValue(), arith::SelectOp::create(b, loc, o.getCondition(), zero, g));
        })
        .Case([&](arith::ConstantOp) {})
        .Default([](Operation *) { llvm_unreachable("checkScalars has refused it"); });
  }
};
} // namespace

LogicalResult lorac::lora::checkScalars(Block &body) {
  for (Operation &op : body.without_terminator())
    if (!isa<
#define LORAC_SCALAR(name, op, value, gradient, vector) op,
#include "dsl/Functions.def"
            arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
            arith::SelectOp, arith::CmpFOp, arith::ConstantOp>(op))
      return op.emitOpError("has no gradient in a lora.map; addf, subf, mulf, divf, negf, select "
                            "and the functions of dsl/Functions.def have one");
  return success();
}

SmallVector<Value> lorac::lora::differentiateScalars(OpBuilder &builder, Location loc, Block &body,
                                                     ValueRange arguments, ValueRange seeds) {
  IRMapping copy;
  copy.map(body.getArguments(), arguments);
  SmallVector<Operation *> forward;
  for (Operation &op : body.without_terminator())
    forward.push_back(builder.clone(op, copy));

  Reverse reverse{builder, loc};
  for (auto [yielded, seed] : llvm::zip(cast<YieldOp>(body.getTerminator()).getValues(), seeds))
    if (seed)
      reverse.add(copy.lookup(yielded), seed);
  for (Operation *op : llvm::reverse(forward))
    if (Value g = reverse.gradient.lookup(op->getResult(0)))
      reverse.visit(op, g);

  SmallVector<Value> result;
  for (Value argument : arguments) {
    Value g = reverse.gradient.lookup(argument);
    result.push_back(
        g ? g : Value(arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0))));
  }
  return result;
}

void lorac::lora::withDerivative(OpBuilder &builder, Location loc, Block &body, Value argument) {
  IRMapping copy;
  copy.map(body.getArgument(0), argument);
  for (Operation &op : body.without_terminator())
    builder.clone(op, copy);
  Value one = arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(1));
  Value derivative = differentiateScalars(builder, loc, body, argument, one).front();
  YieldOp::create(builder, loc,
                  ValueRange{copy.lookup(body.getTerminator()->getOperand(0)), derivative});
}
