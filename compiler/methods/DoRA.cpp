// DoRA (Liu et al. 2024, eq. 5), as PEFT does it: the rows of W + s·B·A have a trained length m in
// place of theirs, n. With up(x) = s·(x·Aᵀ)·Bᵀ and d what dropout leaves of x:
//   y = x·Wᵀ + (m/n - 1)·d·Wᵀ + m/n·up(d) = (x - d)·Wᵀ + m/n·(d·Wᵀ + up(d))
// The first term is not there without dropout. n is a constant in the backward pass (section 4.3).

#include "compiler/methods/Orthogonality.h"
#include "mlir/Dialect/Arith/IR/Arith.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::methods;

static Value normOf(OpBuilder &b, Location loc, double scale, Value w, Value a, Value factor) {
  const int64_t out = cast<WeightType>(w.getType()).getShape()[0];
  return WeightNormOp::create(b, loc, RankedTensorType::get({out}, b.getF32Type()), w, a, factor,
                              b.getF64FloatAttr(scale));
}

static Value rewrite(Site &s) {
  const double scale = s.adapter.getScale().convertToDouble();
  Value x = s.x(), d = s.dropped();
  Site::Update update = s.lowRank(d);
  ParamOp magnitude = s.declare(ParamRole::LoraMagnitude, {s.out()}, "");
  Value m = s.valueOf(magnitude), n = normOf(s.b, s.loc, scale, s.weight(), update.a, update.b);

  // m begins as n, for a run that has no m yet.
  OpBuilder first = s.program("initialize", When::Start);
  auto again = [&](Value used) { return first.clone(*used.getDefiningOp())->getResult(0); };
  Value w = again(s.weight()), a = again(update.a), factor = again(update.b);
  SetOp::create(first, s.loc, magnitude.getSymName(), normOf(first, s.loc, scale, w, a, factor));

  Value whole = s.sum(d == x ? s.base() : s.base(d), update.y);
  // A row of zeros has no length: it is left as it is.
  Value scaled = s.map({whole, m, n}, [&](ValueRange in) -> Value {
    auto number = [&](float value) -> Value {
      return arith::ConstantOp::create(s.b, s.loc, s.b.getF32FloatAttr(value));
    };
    Value one = number(1);
    Value isZero = arith::CmpFOp::create(s.b, s.loc, arith::CmpFPredicate::OEQ, in[2], number(0));
    Value divisor = arith::SelectOp::create(s.b, s.loc, isZero, one, in[2]);
    Value quotient = arith::DivFOp::create(s.b, s.loc, in[1], divisor);
    Value ratio = arith::SelectOp::create(s.b, s.loc, isZero, one, quotient);
    return arith::MulFOp::create(s.b, s.loc, ratio, in[0]);
  });
  if (d == x)
    return scaled;
  Value rest = s.map({x, d}, [&](ValueRange in) -> Value {
    return arith::SubFOp::create(s.b, s.loc, in[0], in[1]);
  });
  return s.sum(s.base(rest), scaled);
}

namespace lorac::methods {
extern const Method methodDoRA;
}
const Method lorac::methods::methodDoRA = {"dora", rewrite, addAskedOrthogonality};
