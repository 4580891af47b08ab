#include "compiler/codegen/cuda/families/MapBody.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace lorac::cuda;

std::string lorac::cuda::nameOf(BlockArgument argument) {
  auto isPart = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  if (auto named = dyn_cast<NameLoc>(argument.getLoc()))
    if (StringRef name = named.getName();
        !name.empty() && !llvm::isDigit(name[0]) && llvm::all_of(name, isPart))
      return name.str();
  return "x" + std::to_string(argument.getArgNumber());
}

static Value compare(DeviceBuilder &d, arith::CmpFPredicate predicate, Value x, Value y) {
  return arith::CmpFOp::create(d.builder(), d.location(), predicate, x, y);
}

// x where it compares with y so, else y: what a NaN and zeros of two signs give is written out.
static Value choose(DeviceBuilder &d, arith::CmpFPredicate predicate, Value x, Value y) {
  Value holds = compare(d, predicate, x, y);
  return arith::SelectOp::create(d.builder(), d.location(), holds, x, y);
}

static Value cloned(DeviceBuilder &d, Operation &op, IRMapping &known) {
  using Predicate = arith::CmpFPredicate;
  auto operand = [&](unsigned i) { return known.lookup(op.getOperand(i)); };
  if (isa<arith::MaximumFOp>(op))
    return choose(d, Predicate::OGT, operand(0), operand(1));
  if (isa<arith::MinimumFOp>(op))
    return choose(d, Predicate::OLT, operand(0), operand(1));
  // C++'s != holds where one of them is NaN.
  if (auto compared = dyn_cast<arith::CmpFOp>(op);
      compared && compared.getPredicate() == Predicate::ONE) {
    Value less = compare(d, Predicate::OLT, operand(0), operand(1)),
          greater = compare(d, Predicate::OGT, operand(0), operand(1));
    return arith::OrIOp::create(d.builder(), d.location(), less, greater);
  }
  Operation *copy = d.builder().clone(op, known);
  copy->setLoc(d.location());
  // exp stays finite: a product of its result with a zero gradient must not be NaN (silu of
  // -100, backward).
  if (auto exp = dyn_cast<math::ExpOp>(copy))
    return min(Num{&d, exp.getResult()}, d.number(1e38));
  return copy->getResult(0);
}

SmallVector<Value> lorac::cuda::cloneMapBody(DeviceBuilder &d, Block &body, ValueRange arguments) {
  IRMapping known;
  known.map(body.getArguments(), arguments);
  for (Operation &op : body.without_terminator())
    known.map(op.getResult(0), cloned(d, op, known));
  SmallVector<Value> results;
  for (Value value : body.getTerminator()->getOperands())
    results.push_back(known.lookup(value));
  return results;
}
