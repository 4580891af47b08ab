#include "compiler/codegen/cpu/families/MapBody.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lorac::cpu;

static bool hasVectorForm(Operation &op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isa<Float32Type, Float64Type>(constant.getType());
  if (auto compare = dyn_cast<arith::CmpFOp>(op))
    switch (compare.getPredicate()) {
    case arith::CmpFPredicate::OLT:
    case arith::CmpFPredicate::OGT:
    case arith::CmpFPredicate::OLE:
    case arith::CmpFPredicate::OGE:
    case arith::CmpFPredicate::OEQ:
    case arith::CmpFPredicate::ONE:
      return true;
    default:
      return false;
    }
  // Functions are of float32; a square root is of float64 too.
#define LORAC_SCALAR(name, op_, value, gradient, vector)                                           \
  if (isa<op_>(op))                                                                                \
    return isa<math::SqrtOp>(op) || op.getResult(0).getType().isF32();
#include "dsl/Functions.def"
  return isa<arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp, arith::NegFOp,
             arith::SelectOp, arith::MaximumFOp, arith::MinimumFOp, arith::ExtFOp, arith::TruncFOp,
             math::AbsFOp>(op);
}

LogicalResult lorac::cpu::checkMapBody(Block &body) {
  for (Operation &op : body.without_terminator())
    if (!hasVectorForm(op)) {
      InFlightDiagnostic error = op.emitError("a map has no vector form of '") << op.getName();
      if (auto compare = dyn_cast<arith::CmpFOp>(op))
        error << " " << arith::stringifyCmpFPredicate(compare.getPredicate());
      return error << "'";
    }
  return success();
}

static Value vectorise(KernelBuilder &k, Operation &op, IRMapping &known) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return k.constant(
        DenseElementsAttr::get(k.vec(constant.getType(), k.lanes()), constant.getValue()));
  KernelBuilder::Values operands;
  for (Value operand : op.getOperands())
    operands.push_back(known.lookup(operand));
  // vexp is clamped, not infinite: a product of its result with a zero gradient must not be NaN
  // (silu of -100, backward). A square root has a vector form of its own.
#define LORAC_SCALAR(name, op_, value, gradient, vector)                                           \
  if (isa<op_>(op) && !isa<math::SqrtOp>(op))                                                      \
    return k.vector(operands[0]);
#include "dsl/Functions.def"
  if (isa<arith::MaximumFOp>(op))
    return k.maxf(operands[0], operands[1]);
  if (isa<arith::MinimumFOp>(op))
    return k.minf(operands[0], operands[1]);
  OperationState state(k.location(), op.getName(), operands,
                       k.vec(op.getResult(0).getType(), k.lanes()), op.getAttrs());
  return k.builder().create(state)->getResult(0);
}

KernelBuilder::Values lorac::cpu::vectoriseMapBody(KernelBuilder &k, Block &body,
                                                   ValueRange arguments) {
  IRMapping known;
  known.map(body.getArguments(), arguments);
  for (Operation &op : body.without_terminator())
    known.map(op.getResult(0), vectorise(k, op, known));
  KernelBuilder::Values results;
  for (Value value : body.getTerminator()->getOperands())
    results.push_back(known.lookup(value));
  return results;
}
