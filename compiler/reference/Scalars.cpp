// One rule an op.

#include "compiler/reference/Scalars.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

static std::optional<double> compare(arith::CmpFPredicate predicate, double x, double y) {
  switch (predicate) {
  case arith::CmpFPredicate::OLT:
    return x < y;
  case arith::CmpFPredicate::OGT:
    return x > y;
  case arith::CmpFPredicate::OLE:
    return x <= y;
  case arith::CmpFPredicate::OGE:
    return x >= y;
  case arith::CmpFPredicate::OEQ:
    return x == y;
  case arith::CmpFPredicate::ONE:
    return x < y || x > y;
  default:
    return std::nullopt;
  }
}

std::optional<double> lorac::reference::evaluateScalar(Operation *op, ArrayRef<double> x) {
  using Answer = std::optional<double>;
  return llvm::TypeSwitch<Operation *, Answer>(op)
      .Case([&](arith::AddFOp) { return x[0] + x[1]; })
      .Case([&](arith::SubFOp) { return x[0] - x[1]; })
      .Case([&](arith::MulFOp) { return x[0] * x[1]; })
      .Case([&](arith::DivFOp) { return x[0] / x[1]; })
      .Case([&](arith::NegFOp) { return -x[0]; })
      .Case([&](arith::MaximumFOp) { return std::fmax(x[0], x[1]); })
      .Case([&](arith::MinimumFOp) { return std::fmin(x[0], x[1]); })
      .Case([&](arith::CmpFOp o) { return compare(o.getPredicate(), x[0], x[1]); })
      .Case([&](arith::SelectOp) { return x[0] != 0 ? x[1] : x[2]; })
#define LORAC_SCALAR(name, op, value, gradient, vector)                                            \
  .Case([&](op) { return [](double x) -> double { return value; }(x[0]); })
#include "dsl/Functions.def"
      .Case([&](math::FmaOp) { return x[0] * x[1] + x[2]; })
      .Case([&](arith::ConstantOp constant) -> Answer {
        if (auto value = dyn_cast<FloatAttr>(constant.getValue()))
          return value.getValueAsDouble();
        if (auto value = dyn_cast<DenseElementsAttr>(constant.getValue()); value && value.isSplat())
          return value.getSplatValue<FloatAttr>().getValueAsDouble();
        return std::nullopt;
      })
      .Default([](Operation *) { return std::nullopt; });
}
