// Verifiers and folders of the ops up to 40-fused; each check names its constraint.

#include "compiler/dialect/LoraOps.h"
#include "mlir/IR/Builders.h"

using namespace mlir;
using namespace lorac::lora;

#define GET_OP_CLASSES
#include "compiler/dialect/LoraOps.cpp.inc"

static RankedTensorType tensorOf(Value value) { return cast<RankedTensorType>(value.getType()); }
static WeightType weightOf(Value value) { return cast<WeightType>(value.getType()); }
static int64_t dim(Value value, unsigned i) {
  RankedTensorType type = tensorOf(value);
  return i < type.getRank() ? type.getDimSize(i) : -1;
}

LogicalResult UseOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *target = symbols.lookupNearestSymbolFrom(*this, getSymbolAttr());
  Type declared;
  if (auto frozen = dyn_cast_or_null<FrozenOp>(target))
    declared = frozen.getType();
  else if (auto param = dyn_cast_or_null<ParamOp>(target))
    declared = param.getType();
  if (!declared) // use_c1
    return emitOpError("no frozen weight or param is named ") << getSymbolAttr();
  if (declared != getValue().getType()) // use_c1
    return emitOpError() << getSymbolAttr() << " has type " << declared << ", used as "
                         << getValue().getType();
  return success();
}

LogicalResult GradientOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto param = symbols.lookupNearestSymbolFrom<ParamOp>(*this, getSymbolAttr());
  if (!param) // gradient_c1
    return emitOpError("no param is named ") << getSymbolAttr();
  if (param.getType() != getValue().getType()) // gradient_c1
    return emitOpError() << getSymbolAttr() << " has type " << param.getType()
                         << ", its gradient has " << getValue().getType();
  return success();
}

LogicalResult EmbedOp::verify() {
  WeightType weight = weightOf(getWeight());
  if (weight.getShape().size() != 2 || dim(getY(), 1) != weight.getShape()[1]) // embed_c1
    return emitOpError("needs rows of length ")
           << weight.getShape().back() << ", got " << getY().getType();
  return success();
}

LogicalResult RmsNormOp::verify() {
  WeightType weight = weightOf(getWeight());
  if (weight.getShape().size() != 1 ||
      columns(tensorOf(getX())) != weight.getShape()[0]) // rms_norm_c1
    return emitOpError("needs a weight as long as a row, got ")
           << getX().getType() << " and " << weight;
  return success();
}

template <typename Op>
static LogicalResult verifyProduct(Op op, Value in, Value out, Value weight, bool transposed) {
  WeightType type = weightOf(weight);
  if (type.getShape().size() != 2)
    return op.emitOpError("needs a weight [out, in], got ") << type;
  int64_t inWanted = type.getShape()[transposed ? 0 : 1],
          outWanted = type.getShape()[transposed ? 1 : 0];
  if (dim(in, 1) != inWanted || dim(out, 1) != outWanted)
    return op.emitOpError("needs [tokens, ")
           << inWanted << "] and [tokens, " << outWanted << "] for " << type << ", got "
           << in.getType() << " and " << out.getType();
  return success();
}

LogicalResult LinearOp::verify() { // linear_c1
  return verifyProduct(*this, getX(), getY(), getWeight(), false);
}
LogicalResult LinearBackwardOp::verify() { // linear_backward_c1
  return verifyProduct(*this, getDy(), getDx(), getWeight(), true);
}

LogicalResult ViewOp::verify() {
  if (columns(tensorOf(getX())) != columns(tensorOf(getY()))) // view_c1
    return emitOpError("needs the same number of elements a token, got ")
           << getX().getType() << " and " << getY().getType();
  return success();
}

OpFoldResult ViewOp::fold(FoldAdaptor) {
  if (getX().getType() == getY().getType())
    return getX();
  if (auto inner = getX().getDefiningOp<ViewOp>();
      inner && inner.getX().getType() == getY().getType())
    return inner.getX();
  return {};
}

LogicalResult RopeOp::verify() {
  RankedTensorType type = tensorOf(getX());
  if (type.getRank() != 3 || type.getDimSize(2) % 2 != 0 || type != getY().getType()) // rope_c1
    return emitOpError("needs [tokens, heads, even d], got ") << type;
  return success();
}

LogicalResult AttentionOp::verify() {
  int64_t heads = dim(getQ(), 1), kvHeads = dim(getK(), 1), d = dim(getQ(), 2);
  if (kvHeads <= 0 || heads % kvHeads != 0 || dim(getK(), 2) != d ||
      getK().getType() != getV().getType()) // attention_c1
    return emitOpError("needs heads a multiple of kv heads and one head size, got ")
           << getQ().getType() << " and " << getK().getType();
  if (dim(getO(), 1) != heads * d || dim(getLse(), 1) != heads) // attention_c2
    return emitOpError("needs results [tokens, ") << heads * d << "] and [tokens, " << heads << "]";
  return success();
}

LogicalResult MapOp::verify() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (getOutputs().empty() || getBody().getNumArguments() != getInputs().size() || !yield ||
      yield.getValues().size() != getOutputs().size()) // map_c1
    return emitOpError("needs one block argument an operand and one yielded value a result");
  Type type = getOutputs().front().getType();
  for (Value value :
       llvm::concat<Value>(llvm::to_vector(getInputs()), llvm::to_vector(getOutputs())))
    if (value.getType() != type) // map_c1
      return emitOpError("needs one shape, got ") << value.getType() << " and " << type;
  for (BlockArgument argument : getBody().getArguments())
    if (!argument.getType().isF32()) // map_c1
      return emitOpError("needs f32 block arguments, got ") << argument.getType();
  return success();
}

LogicalResult CrossEntropyOp::verify() {
  WeightType weight = weightOf(getWeight());
  if (weight.getShape().size() != 2 || dim(getH(), 1) != weight.getShape()[1]) // cross_entropy_c1
    return emitOpError("needs h [tokens, ")
           << weight.getShape().back() << "], got " << getH().getType();
  return success();
}

LogicalResult LowRankOp::verify() {
  int64_t rankOfA = dim(getA(), 0), rankOfB = dim(getB(), 1);
  if (rankOfA != rankOfB) // low_rank_c1
    return emitOpError("needs one rank, got ") << rankOfA << " and " << rankOfB;
  if (dim(getA(), 1) != dim(getX(), 1) || dim(getB(), 0) != dim(getY(), 1)) // low_rank_c1
    return emitOpError("needs A [r, ")
           << dim(getX(), 1) << "] and B [" << dim(getY(), 1) << ", r], got " << getA().getType()
           << " and " << getB().getType();
  return success();
}

LogicalResult DropoutOp::verify() {
  double p = getP().convertToDouble();
  if (!(p > 0 && p < 1)) // dropout_c1
    return emitOpError("needs 0 < p < 1, got ") << p;
  return success();
}

LogicalResult MatmulOp::verify() {
  bool ta = getKind() == ProductKind::TN, tb = getKind() == ProductKind::NT;
  int64_t sumA = dim(getA(), ta ? 0 : 1), sumB = dim(getB(), tb ? 1 : 0);
  int64_t rows = dim(getA(), ta ? 1 : 0), cols = dim(getB(), tb ? 0 : 1);
  if (sumA != sumB || dim(getC(), 0) != rows || dim(getC(), 1) != cols) // matmul_c1
    return emitOpError("shapes do not multiply: ")
           << getA().getType() << ", " << getB().getType() << " -> " << getC().getType();
  return success();
}

static LogicalResult verifyExtraPanel(Operation *op, Value t, Value factor, int64_t factorDim,
                                      int64_t width) {
  if (!t != !factor)
    return op->emitOpError("needs both low-rank operands or neither");
  if (!t)
    return success();
  int64_t rank = dim(t, 1), other = dim(factor, 1 - factorDim);
  if (rank != dim(factor, factorDim) || other != width)
    return op->emitOpError("low-rank operands do not fit: ")
           << t.getType() << " and " << factor.getType();
  return success();
}

LogicalResult AdaptedLinearOp::verify() {
  if (failed(verifyProduct(*this, getX(), getY(), getWeight(), false)))
    return failure();
  return verifyExtraPanel(*this, getT(), getB(), 1, dim(getY(), 1)); // adapted_linear_c1
}

LogicalResult AdaptedLinearBackwardOp::verify() {
  if (failed(verifyProduct(*this, getDy(), getDx(), getWeight(), true)))
    return failure();
  return verifyExtraPanel(*this, getDt(), getA(), 0, dim(getDx(), 1)); // adapted_linear_backward_c1
}
