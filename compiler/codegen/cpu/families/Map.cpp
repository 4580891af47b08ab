// An elementwise function: the body's scalar ops, repeated on vectors. Columns of the padding are
// computed too.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family mapFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 16};
}

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

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  int64_t cols = kernel.intParam("cols"), ins = kernel.intParam("ins");
  Block &body = kernel.getBody().front();
  for (Operation &op : body.without_terminator())
    if (!hasVectorForm(op))
      return op.emitError("a map has no vector form of '") << op.getName() << "'";
  SmallVector<MemRefType> buffers;
  for (int64_t ld : kernel.getParams().getAs<DenseI64ArrayAttr>("lds").asArrayRef())
    buffers.push_back(KernelBuilder::activation(kernel.getContext(), ld));
  KernelBuilder k(kernel, builder, target, buffers);
  forEachRow(k, kernel.getTile(), [&](Value m) {
    overColumns(k, cols, [&](Value column, int64_t) {
      IRMapping known;
      for (int64_t i = 0; i < ins; ++i)
        known.map(body.getArgument(i), k.vload(k.buffer(i), {m, column}));
      for (Operation &op : body.without_terminator())
        known.map(op.getResult(0), vectorise(k, op, known));
      for (auto [i, value] : llvm::enumerate(body.getTerminator()->getOperands()))
        k.vstore(known.lookup(value), k.buffer(ins + i), {m, column});
    });
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return rows * intParam(params, "cols");
}

const Family lorac::cpu::mapFamily = {"map", "an elementwise function of its operands", describe,
                                      build, flops};
