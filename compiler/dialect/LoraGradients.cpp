// What each op of the model answers to Differentiate (LoraInterfaces.td).

#include "compiler/dialect/LoraOps.h"
#include "compiler/dialect/ScalarGradient.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace lorac::lora;

using Values = SmallVector<Value>;

Values RmsNormOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!wanted[0])
    return {Value(), Value()};
  return {RmsNormBackwardOp::create(b, getLoc(), getX().getType(), getX(), getWeight(), dy[0],
                                    Value(), getEpsAttr()),
          Value()};
}

Values LinearOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!wanted[0])
    return {Value(), Value()};
  return {LinearBackwardOp::create(b, getLoc(), getX().getType(), dy[0], getWeight()), Value()};
}

Values ViewOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!wanted[0])
    return {Value()};
  return {ViewOp::create(b, getLoc(), getX().getType(), dy[0])};
}

Values RopeOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!wanted[0])
    return {Value(), Value()};
  return {RopeOp::create(b, getLoc(), getX().getType(), dy[0], getPositions(), getFrequenciesAttr(),
                         getInverse() ? UnitAttr() : b.getUnitAttr()),
          Value()};
}

Values AttentionOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!llvm::is_contained(wanted, true))
    return Values(4);
  auto op = AttentionBackwardOp::create(
      b, getLoc(), TypeRange{getQ().getType(), getK().getType(), getV().getType()}, getQ(), getK(),
      getV(), getSegments(), getO(), getLse(), dy[0], getScaleAttr(), getWindowAttr(),
      getSoftcapAttr());
  return {op.getDq(), op.getDk(), op.getDv(), Value()};
}

Values LowRankOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  auto op = LowRankBackwardOp::create(b, getLoc(), getA().getType(), getB().getType(),
                                      wanted[0] ? getX().getType() : Type(), getX(), getA(), getB(),
                                      dy[0], getScaleAttr());
  return {op.getDx(), op.getDa(), op.getDb()};
}

Values DropoutOp::backward(OpBuilder &b, ValueRange dy, ArrayRef<bool> wanted) {
  if (!wanted[0])
    return {Value()};
  return {DropoutOp::create(b, getLoc(), getX().getType(), dy[0], getPAttr(), getStreamAttr())};
}

// The gradient of an elementwise function is elementwise: one map over the inputs and the results'
// gradients; that of a row is the sum over tokens.
Values MapOp::backward(OpBuilder &b, ValueRange dys, ArrayRef<bool> wanted) {
  if (failed(checkScalars(getBody().front())))
    return {};
  Values operands(getInputs());
  SmallVector<int> place(dys.size(), -1);
  for (auto [i, dy] : llvm::enumerate(dys))
    if (dy) {
      place[i] = operands.size();
      operands.push_back(dy);
    }
  SmallVector<unsigned> targets;
  for (unsigned i = 0; i < wanted.size(); ++i)
    if (wanted[i])
      targets.push_back(i);
  Values result(getInputs().size());
  if (targets.empty())
    return result;

  Type type = getOutputs().front().getType();
  auto map = MapOp::create(b, getLoc(), SmallVector<Type>(targets.size(), type), operands);
  {
    OpBuilder::InsertionGuard guard(b);
    Block *block =
        b.createBlock(&map.getBody(), {}, SmallVector<Type>(operands.size(), b.getF32Type()),
                      SmallVector<Location>(operands.size(), getLoc()));
    Values seeds;
    for (int at : place)
      seeds.push_back(at < 0 ? Value() : Value(block->getArgument(at)));
    Values gradients =
        differentiateScalars(b, getLoc(), getBody().front(),
                             block->getArguments().take_front(getInputs().size()), seeds);
    Values yielded;
    for (unsigned target : targets)
      yielded.push_back(gradients[target]);
    YieldOp::create(b, getLoc(), yielded);
  }
  for (auto [i, target] : llvm::enumerate(targets)) {
    Value input = getInputs()[target], gradient = map.getOutputs()[i];
    result[target] =
        isRow(input) ? SumRowsOp::create(b, getLoc(), input.getType(), gradient).getY() : gradient;
  }
  return result;
}
