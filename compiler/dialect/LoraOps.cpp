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

// The type of a param or a stack; null for anything else.
static RankedTensorType trainableType(Operation *symbol) {
  if (auto param = dyn_cast_or_null<ParamOp>(symbol))
    return cast<RankedTensorType>(param.getType());
  if (auto stack = dyn_cast_or_null<StackOp>(symbol))
    return cast<RankedTensorType>(stack.getType());
  return {};
}

LogicalResult AdapterOp::verify() {
  auto isNegative = [](int64_t n) { return n < 0; };
  if (isNegative(getRank()) || (getFalls() && llvm::any_of(*getFalls(), isNegative))) // adapter_c1
    return emitOpError("has a negative rank");
  if (getFalls() && getFalls()->size() != 3)
    return emitOpError("falls from the initial rank between two bounds, got ")
           << getFalls()->size() << " numbers";
  return success();
}

LogicalResult ParamOp::verifySymbolUses(SymbolTableCollection &symbols) {
  if (bool(getRole()) != bool(getAdapter())) // param_c1
    return emitOpError("has a role and no adapter, or an adapter and no role");
  if (!getRole())
    return success();
  auto adapter = symbols.lookupNearestSymbolFrom<AdapterOp>(*this, getAdapterAttr());
  if (!adapter) // param_c1
    return emitOpError("no adapter is named ") << getAdapterAttr();
  auto type = cast<RankedTensorType>(getType());
  if (is(ParamRole::LoraMagnitude) || is(ParamRole::LoraGate)) {
    auto frozen = symbols.lookupNearestSymbolFrom<FrozenOp>(*this, adapter.getWeightAttr());
    if (type.getRank() == 1 &&
        (!frozen || cast<WeightType>(frozen.getType()).getShape()[0] == type.getDimSize(0)))
      return success();
    return emitOpError("of type ")
           << type << " has no number for each row of " << adapter.getWeightAttr(); // param_c1
  }
  const bool isB = is(ParamRole::LoraB);
  if (type.getRank() != 2 || type.getDimSize(isB ? 1 : 0) != int64_t(adapter.getRank()) ||
      (is(ParamRole::LoraE) && type.getDimSize(1) != 1)) // param_c1
    return emitOpError("of type ") << type << " is no " << stringifyParamRole(*getRole())
                                   << " of an adapter of rank " << int64_t(adapter.getRank());
  return success();
}

LogicalResult StackOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto type = cast<RankedTensorType>(getType());
  int64_t rows = 0;
  for (auto part : getParts().getAsRange<FlatSymbolRefAttr>()) {
    auto param = symbols.lookupNearestSymbolFrom<ParamOp>(*this, part);
    if (!param) // stack_c1
      return emitOpError("no param is named ") << part;
    auto partType = cast<RankedTensorType>(param.getType());
    if (partType.getRank() != 2 || partType.getDimSize(1) != type.getDimSize(1)) // stack_c1
      return emitOpError() << part << " has type " << partType << ", the stack has " << type;
    rows += partType.getDimSize(0);
  }
  if (rows != type.getDimSize(0)) // stack_c1
    return emitOpError("its parts have ") << rows << " rows, its type has " << type.getDimSize(0);
  return success();
}

LogicalResult UseOp::verifySymbolUses(SymbolTableCollection &symbols) {
  Operation *target = symbols.lookupNearestSymbolFrom(*this, getSymbolAttr());
  Type declared;
  if (auto frozen = dyn_cast_or_null<FrozenOp>(target))
    declared = frozen.getType();
  else if (RankedTensorType trainable = trainableType(target))
    declared = trainable;
  if (!declared) // use_c1
    return emitOpError("no frozen weight, param or stack is named ") << getSymbolAttr();
  if (declared != getValue().getType()) // use_c1
    return emitOpError() << getSymbolAttr() << " has type " << declared << ", used as "
                         << getValue().getType();
  return success();
}

LogicalResult GradientOp::verifySymbolUses(SymbolTableCollection &symbols) {
  RankedTensorType declared =
      trainableType(symbols.lookupNearestSymbolFrom(*this, getSymbolAttr()));
  if (!declared) // gradient_c1
    return emitOpError("no param or stack is named ") << getSymbolAttr();
  if (declared != getValue().getType()) // gradient_c1
    return emitOpError() << getSymbolAttr() << " has type " << declared << ", its gradient has "
                         << getValue().getType();
  return success();
}

LogicalResult SetOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto param = symbols.lookupNearestSymbolFrom<ParamOp>(*this, getSymbolAttr());
  if (!param) // set_c1
    return emitOpError("no param is named ") << getSymbolAttr();
  if (param.getType() != getValue().getType()) // set_c1
    return emitOpError() << getSymbolAttr() << " has type " << param.getType() << ", its value has "
                         << getValue().getType();
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
      tensorOf(getX()).getShape().back() != weight.getShape()[0]) // rms_norm_c1
    return emitOpError("needs a weight as long as the last dimension, got ")
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

LogicalResult RopeOp::verifySymbolUses(SymbolTableCollection &symbols) {
  auto table = symbols.lookupNearestSymbolFrom<FrequenciesOp>(*this, getFrequenciesAttr());
  if (!table) // rope_c2
    return emitOpError("no frequencies are named ") << getFrequenciesAttr();
  if (int64_t pairs = dim(getX(), 2) / 2; int64_t(table.getInverse().size()) != pairs) // rope_c2
    return emitOpError() << getFrequenciesAttr() << " has " << table.getInverse().size()
                         << " frequencies, a head has " << pairs << " pairs";
  return success();
}

template <typename Op>
static LogicalResult verifyScores(Op op) {
  if (op.getWindow() && int64_t(*op.getWindow()) <= 0) // attention_c3
    return op.emitOpError("needs a positive window, got ") << int64_t(*op.getWindow());
  if (op.getSoftcap() && !(op.getSoftcap()->convertToDouble() > 0)) // attention_c3
    return op.emitOpError("needs a positive softcap, got ") << op.getSoftcap()->convertToDouble();
  return success();
}

LogicalResult AttentionBackwardOp::verify() { return verifyScores(*this); }

LogicalResult AttentionOp::verify() {
  int64_t heads = dim(getQ(), 1), kvHeads = dim(getK(), 1), d = dim(getQ(), 2);
  if (kvHeads <= 0 || heads % kvHeads != 0 || dim(getK(), 2) != d ||
      getK().getType() != getV().getType()) // attention_c1
    return emitOpError("needs heads a multiple of kv heads and one head size, got ")
           << getQ().getType() << " and " << getK().getType();
  if (dim(getO(), 1) != heads * d || dim(getLse(), 1) != heads) // attention_c2
    return emitOpError("needs results [tokens, ") << heads * d << "] and [tokens, " << heads << "]";
  return verifyScores(*this);
}

LogicalResult MapOp::verify() {
  auto yield = dyn_cast<YieldOp>(getBody().front().getTerminator());
  if (getOutputs().empty() || getBody().getNumArguments() != getInputs().size() || !yield ||
      yield.getValues().size() != getOutputs().size()) // map_c1
    return emitOpError("needs one block argument an operand and one yielded value a result");
  RankedTensorType type = tensorOf(getOutputs().front());
  auto isRowOfResults = [&](Value value) {
    auto frozen = dyn_cast<WeightType>(value.getType());
    ArrayRef<int64_t> row = frozen ? frozen.getShape() : tensorOf(value).getShape();
    return type.getRank() == 2 && row == ArrayRef<int64_t>{type.getDimSize(1)};
  };
  bool hasWhole = false;
  for (Value output : getOutputs())
    if (output.getType() != type) // map_c1
      return emitOpError("needs one shape, got ") << output.getType() << " and " << type;
  for (Value input : getInputs()) {
    hasWhole |= input.getType() == type;
    if (input.getType() != type && !isRowOfResults(input)) // map_c1
      return emitOpError("needs one shape, got ") << input.getType() << " and " << type;
  }
  if (!hasWhole) // map_c1
    return emitOpError("has no operand of its results' shape");
  for (Value value : llvm::concat<Value>(llvm::to_vector_of<Value>(getBody().getArguments()),
                                         llvm::to_vector(yield.getValues())))
    if (!value.getType().isF32()) // map_c1
      return emitOpError("needs f32 block arguments and yields, got ") << value.getType();
  return success();
}

template <typename Op>
static LogicalResult verifyLoss(Op op) {
  WeightType weight = weightOf(op.getWeight());
  if (weight.getShape().size() != 2 ||
      dim(op.getH(), 1) != weight.getShape()[1]) // cross_entropy_c1
    return op.emitOpError("needs h [tokens, ")
           << weight.getShape().back() << "], got " << op.getH().getType();
  if (op.getBody().empty())
    return success();
  Block &body = op.getBody().front();
  auto yield = dyn_cast<YieldOp>(body.getTerminator());
  if (body.getNumArguments() != 1 || !body.getArgument(0).getType().isF32() || !yield ||
      yield.getValues().size() != 1 || !yield.getValues()[0].getType().isF32()) // cross_entropy_c2
    return op.emitOpError("needs a body of one f32 that yields one f32");
  return success();
}

LogicalResult CrossEntropyOp::verify() { return verifyLoss(*this); }
LogicalResult CrossEntropyBackwardOp::verify() { return verifyLoss(*this); }

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

LogicalResult WeightNormOp::verify() {
  WeightType weight = weightOf(getWeight());
  if (weight.getShape().size() != 2)
    return emitOpError("needs a weight [out, in], got ") << weight;
  const int64_t out = weight.getShape()[0], in = weight.getShape()[1];
  if (dim(getA(), 0) != dim(getB(), 1) || dim(getA(), 1) != in || dim(getB(), 0) != out ||
      tensorOf(getNorm()).getShape() != ArrayRef<int64_t>{out}) // weight_norm_c1
    return emitOpError("needs A [r, ")
           << in << "], B [" << out << ", r] and a norm [" << out << "], got " << getA().getType()
           << ", " << getB().getType() << " and " << getNorm().getType();
  return success();
}

LogicalResult SumRowsOp::verify() {
  if (tensorOf(getX()).getRank() != 2 ||
      tensorOf(getY()).getShape() != ArrayRef<int64_t>{dim(getX(), 1)}) // sum_rows_c1
    return emitOpError("needs [tokens, n] and [n], got ")
           << getX().getType() << " and " << getY().getType();
  return success();
}

LogicalResult DropoutOp::verify() {
  double p = getP().convertToDouble();
  if (!(p > 0 && p < 1)) // dropout_c1
    return emitOpError("needs 0 < p < 1, got ") << p;
  return success();
}

LogicalResult OrthogonalTermOp::verify() {
  auto gram = cast<RankedTensorType>(getGram().getType()),
       norm = cast<RankedTensorType>(getNorm().getType());
  if (gram.getRank() != 2 || gram.getDimSize(0) != gram.getDimSize(1) || gram.isDynamicDim(0) ||
      getGradient().getType() != gram) // orthogonal_term_c1
    return emitOpError("needs a square matrix and a gradient of its type, got ")
           << gram << " and " << getGradient().getType();
  if (norm.getShape() != ArrayRef<int64_t>{1})
    return emitOpError("the norm is tensor<1xf32>, got ") << norm;
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

LogicalResult ColumnsOp::verify() {
  int64_t wide = dim(getX(), 1), n = dim(getY(), 1), from = getFrom();
  if (dim(getX(), 0) != dim(getY(), 0) || from < 0 || n <= 0 || from + n > wide) // columns_c1
    return emitOpError("columns [")
           << from << ", " << from + n << ") are not in " << getX().getType();
  return success();
}

LogicalResult ConcatOp::verify() {
  int64_t sum = 0;
  for (Value part : getParts())
    sum += dim(part, 1);
  if (sum != dim(getY(), 1)) // concat_c1
    return emitOpError("its operands have ")
           << sum << " columns, its result has " << dim(getY(), 1);
  return success();
}

Operation *FusedOp::product() { return &getBody().front().front(); }

Operation *FusedOp::epilogue() { return getBody().front().getTerminator()->getPrevNode(); }

LogicalResult FusedOp::verifyRegions() {
  Block &block = getBody().front();
  auto yield = dyn_cast<YieldOp>(block.getTerminator());
  if (!yield || yield.getValues().getTypes() != getResultTypes())
    return emitOpError("needs one yielded value a result");
  if (!isa<AdaptedLinearOp, AdaptedLinearBackwardOp>(product())) // fused_c1
    return emitOpError("needs a product over a frozen weight first");
  if (!isa<MapOp, RopeOp>(epilogue())) // fused_c1
    return emitOpError("needs a map or a rope last");
  Value read = product()->getResult(0);
  for (Operation *op = product()->getNextNode(); op != epilogue(); op = op->getNextNode()) {
    auto view = dyn_cast<ViewOp>(op);
    if (!view || view.getX() != read) // fused_c1
      return emitOpError("needs nothing but views of the product between it and its epilogue");
    read = view.getY();
  }
  if (!llvm::is_contained(epilogue()->getOperands(), read)) // fused_c1
    return emitOpError("its epilogue does not read its product");
  size_t results = epilogue()->getNumResults();
  for (auto [i, value] : llvm::enumerate(yield.getValues()))
    if (i < results ? value != epilogue()->getResult(i)
                    : value != product()->getResult(0)) // fused_c2
      return emitOpError("yields the epilogue's results, then the product");
  if (yield.getValues().size() < results || yield.getValues().size() > results + 1) // fused_c2
    return emitOpError("yields the epilogue's results, then the product");
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
