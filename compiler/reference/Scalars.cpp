// One rule an op.

#include "compiler/reference/Scalars.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/TypeSwitch.h"
#include <cmath>

using namespace mlir;

std::optional<double> lorac::reference::evaluateScalar(Operation *op, ArrayRef<double> operands) {
  using Answer = std::optional<double>;
  return llvm::TypeSwitch<Operation *, Answer>(op)
      .Case([&](arith::AddFOp) { return operands[0] + operands[1]; })
      .Case([&](arith::SubFOp) { return operands[0] - operands[1]; })
      .Case([&](arith::MulFOp) { return operands[0] * operands[1]; })
      .Case([&](arith::DivFOp) { return operands[0] / operands[1]; })
      .Case([&](arith::NegFOp) { return -operands[0]; })
      .Case([&](arith::MaximumFOp) { return std::fmax(operands[0], operands[1]); })
      .Case([&](arith::MinimumFOp) { return std::fmin(operands[0], operands[1]); })
#define LORAC_SCALAR(name, op, value, gradient, vector)                                            \
  .Case([&](op) { return [](double x) -> double { return value; }(operands[0]); })
#include "dsl/Functions.def"
      .Case([&](math::RsqrtOp) { return 1 / std::sqrt(operands[0]); })
      .Case([&](math::FmaOp) { return operands[0] * operands[1] + operands[2]; })
      .Case([&](arith::ConstantOp constant) -> Answer {
        if (auto value = dyn_cast<FloatAttr>(constant.getValue()))
          return value.getValueAsDouble();
        if (auto value = dyn_cast<DenseElementsAttr>(constant.getValue()); value && value.isSplat())
          return value.getSplatValue<FloatAttr>().getValueAsDouble();
        return std::nullopt;
      })
      .Default([](Operation *) { return std::nullopt; });
}
