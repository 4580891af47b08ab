#include "compiler/codegen/cpu/Elementwise.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

/// The op on vectors.
static Value vectorise(KernelBuilder &k, Operation &op, IRMapping &known) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return k.splatF32(cast<FloatAttr>(constant.getValue()).getValueAsDouble());
  if (auto exp = dyn_cast<math::ExpOp>(op))
    // Clamped, not infinite: a product of its result with a zero gradient must not be NaN (silu of
    // -100, backward).
    return k.vexp(known.lookup(exp.getOperand()));
  SmallVector<Value> operands;
  for (Value operand : op.getOperands())
    operands.push_back(known.lookup(operand));
  OperationState state(k.location(), op.getName(), operands, k.vecF32(), op.getAttrs());
  return k.builder().create(state)->getResult(0);
}

static bool hasVectorForm(Operation &op) {
  if (auto constant = dyn_cast<arith::ConstantOp>(op))
    return isa<FloatAttr>(constant.getValue());
  return isa<math::ExpOp, arith::AddFOp, arith::SubFOp, arith::MulFOp, arith::DivFOp,
             arith::NegFOp>(op);
}

SmallVector<MemRefType> Elementwise::buffers() {
  SmallVector<MemRefType> types;
  for (int64_t ld : kernel.getParams().getAs<DenseI64ArrayAttr>("lds").asArrayRef())
    types.push_back(KernelBuilder::activation(kernel.getContext(), ld));
  return types;
}

LogicalResult Elementwise::check() {
  for (Operation &op : kernel.getBody().front().without_terminator())
    if (!hasVectorForm(op))
      return op.emitError("a map has no vector form of '") << op.getName() << "'";
  return success();
}

void Elementwise::build(KernelBuilder &k, Value row, Value column) {
  Block &body = kernel.getBody().front();
  unsigned ins = body.getNumArguments();
  IRMapping known;
  for (unsigned i = 0; i < ins; ++i)
    known.map(body.getArgument(i), k.vload(k.buffer(first + i), {row, column}));
  for (Operation &op : body.without_terminator())
    known.map(op.getResult(0), vectorise(k, op, known));
  for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands()))
    k.vstore(known.lookup(value), k.buffer(first + ins + i), {row, column});
}
