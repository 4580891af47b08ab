// The walk: operands from earlier ops, one function of Ops.h an op, results for later ones.

#include "compiler/reference/Interpreter.h"
#include "compiler/dialect/LoraOps.h"
#include "compiler/dialect/ScalarGradient.h"
#include "compiler/reference/Scalars.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::reference;

using Tensors = std::vector<HostTensor>;

static double number(const APFloat &value) { return value.convertToDouble(); }

static bool fits(const HostTensor &tensor, ArrayRef<int64_t> shape) {
  if (tensor.shape.size() != shape.size())
    return false;
  int64_t count = 1;
  for (auto [have, wanted] : llvm::zip(tensor.shape, shape)) {
    if (wanted != ShapedType::kDynamic && have != wanted)
      return false;
    count *= have;
  }
  return count == tensor.size();
}

static bool fits(const HostTensor &tensor, Type type) {
  if (auto weight = dyn_cast<WeightType>(type))
    return fits(tensor, weight.getShape());
  return fits(tensor, cast<RankedTensorType>(type).getShape());
}

static bool allWithin(const HostTensor &indices, int64_t end,
                      std::optional<int64_t> other = std::nullopt) {
  return llvm::all_of(indices.data,
                      [&](double i) { return (i >= 0 && i < end) || (other && i == *other); });
}

// starts[0] = 0, ascending, the last one = tokens
static bool cutsTokens(const HostTensor &starts, int64_t tokens) {
  return starts.size() > 0 && starts.data.front() == 0 && starts.data.back() == tokens &&
         llvm::is_sorted(starts.data);
}

namespace {
struct Machine {
  const Environment &environment;
  Outcome outcome{};
  llvm::DenseMap<Value, HostTensor> values{};

  const HostTensor &at(Value value) {
    auto found = values.find(value);
    assert(found != values.end() && "ops stand in the order of their uses");
    return found->second;
  }

  FailureOr<Tensors> evaluate(Operation &op);
  FailureOr<Tensors> use(UseOp op);
  FailureOr<Tensors> gradient(GradientOp op);
  FailureOr<Tensors> map(MapOp op);
  FailureOr<Tensors> elementwise(Operation &op);
  FailureOr<Tensors> fused(FusedOp op);
  FailureOr<Tensors> cached(CachedAttentionOp op);
  template <typename Op>
  FailureOr<Tensors> loss(Op op, llvm::function_ref<Tensors(const LogitOf &)> compute);
  HostTensor view(ViewOp op);
  HostTensor adaptedLinear(AdaptedLinearOp op);
  HostTensor adaptedLinearBackward(AdaptedLinearBackwardOp op);
  LogicalResult checkIndices(Operation &op);
  LogicalResult walk(Block &block);
  LogicalResult run(Block &block);
};
} // namespace

// The params of a stack, in order; none where the symbol is no stack.
static SmallVector<ParamOp> partsOf(Operation *user, FlatSymbolRefAttr symbol) {
  SmallVector<ParamOp> parts;
  if (auto stack = SymbolTable::lookupNearestSymbolFrom<StackOp>(user, symbol))
    for (auto part : stack.getParts().getAsRange<FlatSymbolRefAttr>())
      parts.push_back(SymbolTable::lookupNearestSymbolFrom<ParamOp>(user, part));
  return parts;
}

FailureOr<Tensors> Machine::use(UseOp op) {
  if (SmallVector<ParamOp> parts = partsOf(op, op.getSymbolAttr()); !parts.empty()) {
    std::vector<HostTensor> values;
    for (ParamOp part : parts) {
      auto found = environment.symbols.find(part.getSymName().str());
      if (found == environment.symbols.end())
        return op.emitOpError("the environment holds no value named '") << part.getSymName() << "'";
      values.push_back(found->second);
    }
    return Tensors{stackRows(values)};
  }
  auto found = environment.symbols.find(op.getSymbol().str());
  if (found == environment.symbols.end())
    return op.emitOpError("the environment holds no value named '") << op.getSymbol() << "'";
  return Tensors{found->second};
}

FailureOr<Tensors> Machine::gradient(GradientOp op) {
  auto addTo = [&](StringRef name, const HostTensor &value) {
    auto [place, isFirst] = outcome.gradients.try_emplace(name.str(), value);
    if (!isFirst)
      place->second = add(place->second, value);
  };
  SmallVector<ParamOp> parts = partsOf(op, op.getSymbolAttr());
  if (parts.empty())
    addTo(op.getSymbol(), at(op.getValue()));
  int64_t row = 0;
  for (ParamOp part : parts) {
    int64_t rows = cast<RankedTensorType>(part.getType()).getDimSize(0);
    addTo(part.getSymName(), rowsOf(at(op.getValue()), row, rows));
    row += rows;
  }
  return Tensors{};
}

FailureOr<Tensors> Machine::fused(FusedOp op) {
  Block &body = op.getBody().front();
  if (failed(walk(body)))
    return failure();
  Tensors outputs;
  for (Value value : body.getTerminator()->getOperands())
    outputs.push_back(at(value));
  return outputs;
}

template <typename Op>
static Scores scoresOf(Op op) {
  return {number(op.getScale()), int64_t(op.getWindow().value_or(0)),
          op.getSoftcap() ? number(*op.getSoftcap()) : 0};
}

FailureOr<Tensors> Machine::cached(CachedAttentionOp op) {
  if (!environment.cache)
    return op.emitOpError("needs a cache in the environment");
  const HostTensor &starts = at(op.getSegments()), &positions = at(op.getPositions());
  std::vector<CachedSequence> &sequences = (*environment.cache)[int64_t(op.getCache())];
  sequences.resize(std::max<size_t>(sequences.size(), size_t(starts.rows() - 1)));
  for (int64_t i = 0; i + 1 < starts.rows(); ++i) {
    const HostTensor &keys = sequences[size_t(i)].k;
    int64_t position = keys.shape.empty() ? 0 : keys.rows();
    for (int64_t m = starts.data[i]; m < int64_t(starts.data[i + 1]); ++m)
      if (positions.data[m] != double(position++))
        return op.emitOpError("row ") << m << " does not follow what its sequence has in the cache";
  }
  return Tensors{cachedAttention(at(op.getQ()), at(op.getK()), at(op.getV()), starts, sequences,
                                 scoresOf(op))};
}

// What the block yields for these arguments; an error at an op that it does not know.
static FailureOr<SmallVector<double>> evaluateBody(Block &body, ArrayRef<double> arguments) {
  llvm::DenseMap<Value, double> scalars;
  for (auto [argument, value] : llvm::zip(body.getArguments(), arguments))
    scalars[argument] = value;
  for (Operation &inner : body.without_terminator()) {
    SmallVector<double> operands;
    for (Value operand : inner.getOperands())
      operands.push_back(scalars.at(operand));
    std::optional<double> value = evaluateScalar(&inner, operands);
    if (!value)
      return inner.emitOpError("has no reference meaning in a map");
    scalars[inner.getResult(0)] = *value;
  }
  SmallVector<double> yielded;
  for (Value value : body.getTerminator()->getOperands())
    yielded.push_back(scalars.at(value));
  return yielded;
}

// The logits' body and its derivative, by the same rules as every gradient.
template <typename Op>
FailureOr<Tensors> Machine::loss(Op op, llvm::function_ref<Tensors(const LogitOf &)> compute) {
  if (op.getBody().empty())
    return compute(theProduct);
  Block &body = op.getBody().front();
  if (failed(checkScalars(body)))
    return failure();
  OpBuilder builder(op.getContext());
  Block both;
  Value product = both.addArgument(builder.getF32Type(), op.getLoc());
  builder.setInsertionPointToStart(&both);
  withDerivative(builder, op.getLoc(), body, product);
  bool good = true;
  Tensors results = compute([&](double product) {
    FailureOr<SmallVector<double>> made = evaluateBody(both, product);
    good = good && succeeded(made);
    return good ? Logit{(*made)[0], (*made)[1]} : Logit{};
  });
  if (!good)
    return failure();
  return results;
}

FailureOr<Tensors> Machine::map(MapOp op) {
  Block &body = op.getBody().front();
  const HostTensor &like =
      at(*llvm::find_if(op.getInputs(), [&](Value input) { return !op.isRow(input); }));
  Tensors outputs(op.getNumResults(), HostTensor::zeros(like.shape));
  for (int64_t e = 0; e < like.size(); ++e) {
    SmallVector<double> arguments;
    for (Value input : op.getInputs())
      arguments.push_back(at(input).data[op.isRow(input) ? e % like.columns() : e]);
    FailureOr<SmallVector<double>> values = evaluateBody(body, arguments);
    if (failed(values))
      return failure();
    for (auto [output, value] : llvm::zip(outputs, *values))
      output.data[e] = value;
  }
  return outputs;
}

// An arith or math op on whole tensors.
FailureOr<Tensors> Machine::elementwise(Operation &op) {
  auto type = op.getNumResults() == 1 ? dyn_cast<RankedTensorType>(op.getResult(0).getType())
                                      : RankedTensorType();
  if (!type || !(op.getNumOperands() || type.hasStaticShape()))
    return op.emitOpError("has no reference meaning");
  HostTensor y =
      HostTensor::zeros(op.getNumOperands() ? at(op.getOperand(0)).shape : type.getShape().vec());
  for (int64_t e = 0; e < y.size(); ++e) {
    SmallVector<double> operands;
    for (Value operand : op.getOperands())
      operands.push_back(at(operand).data[e]);
    std::optional<double> value = evaluateScalar(&op, operands);
    if (!value)
      return op.emitOpError("has no reference meaning");
    y.data[e] = *value;
  }
  return Tensors{y};
}

HostTensor Machine::view(ViewOp op) {
  HostTensor y = at(op.getX());
  std::vector<int64_t> shape = op.getY().getType().getShape().vec();
  shape.front() = y.rows();
  y.shape = shape;
  return y;
}

// y = [residual +] x·Wᵀ [+ scale·t·Bᵀ]
HostTensor Machine::adaptedLinear(AdaptedLinearOp op) {
  HostTensor y = linear(at(op.getX()), at(op.getWeight()));
  if (op.getT())
    y = add(y, matmulNT(at(op.getT()), at(op.getB()), number(op.getScale())));
  return op.getResidual() ? add(at(op.getResidual()), y) : y;
}

// dx = [onto +] dy·W [+ dt·A]
HostTensor Machine::adaptedLinearBackward(AdaptedLinearBackwardOp op) {
  HostTensor dx = linearBackward(at(op.getDy()), at(op.getWeight()));
  if (op.getDt())
    dx = add(dx, matmulNN(at(op.getDt()), at(op.getA()), 1));
  return op.getOnto() ? add(at(op.getOnto()), dx) : dx;
}

// Ids, labels and segments are data: the types do not bound them.
LogicalResult Machine::checkIndices(Operation &op) {
  return llvm::TypeSwitch<Operation *, LogicalResult>(&op)
      .Case([&](EmbedOp o) -> LogicalResult {
        if (!allWithin(at(o.getIds()), at(o.getWeight()).rows()))
          return o.emitOpError("ids must be from 0 to ") << at(o.getWeight()).rows() - 1;
        return success();
      })
      .Case<CrossEntropyOp, CrossEntropyBackwardOp>([&](auto o) -> LogicalResult {
        if (!allWithin(at(o.getLabels()), at(o.getWeight()).rows(), -100))
          return o.emitOpError("labels must be -100 or from 0 to ") << at(o.getWeight()).rows() - 1;
        return success();
      })
      .Case<AttentionOp, AttentionBackwardOp, CachedAttentionOp>([&](auto o) -> LogicalResult {
        if (!cutsTokens(at(o.getSegments()), at(o.getQ()).rows()))
          return o.emitOpError("segments must ascend from 0 to ") << at(o.getQ()).rows();
        return success();
      })
      .Default([](Operation *) { return success(); });
}

FailureOr<Tensors> Machine::evaluate(Operation &op) {
  using Answer = FailureOr<Tensors>;
  return llvm::TypeSwitch<Operation *, Answer>(&op)
      .Case([&](UseOp o) { return use(o); })
      .Case([&](GradientOp o) { return gradient(o); })
      .Case([&](SetOp o) -> Answer {
        outcome.set[o.getSymbol().str()] = at(o.getValue());
        return Tensors{};
      })
      .Case([&](MapOp o) { return map(o); })
      .Case([&](ViewOp o) -> Answer { return Tensors{view(o)}; })
      .Case([&](EmbedOp o) -> Answer { return Tensors{embed(at(o.getIds()), at(o.getWeight()))}; })
      .Case([&](RmsNormOp o) -> Answer {
        return Tensors{rmsNorm(at(o.getX()), at(o.getWeight()), number(o.getEps()))};
      })
      .Case([&](RmsNormBackwardOp o) -> Answer {
        HostTensor dx =
            rmsNormBackward(at(o.getX()), at(o.getWeight()), at(o.getDy()), number(o.getEps()));
        return Tensors{o.getOnto() ? add(at(o.getOnto()), dx) : dx};
      })
      .Case([&](LinearOp o) -> Answer { return Tensors{linear(at(o.getX()), at(o.getWeight()))}; })
      .Case([&](LinearBackwardOp o) -> Answer {
        return Tensors{linearBackward(at(o.getDy()), at(o.getWeight()))};
      })
      .Case([&](RopeOp o) -> Answer {
        auto table = SymbolTable::lookupNearestSymbolFrom<FrequenciesOp>(o, o.getFrequenciesAttr());
        std::vector<double> frequencies(table.getInverse().begin(), table.getInverse().end());
        return Tensors{rope(at(o.getX()), at(o.getPositions()), frequencies,
                            number(table.getFactor()), o.getInverse())};
      })
      .Case([&](AttentionOp o) -> Answer {
        auto [out, lse] =
            attention(at(o.getQ()), at(o.getK()), at(o.getV()), at(o.getSegments()), scoresOf(o));
        return Tensors{out, lse};
      })
      .Case([&](CachedAttentionOp o) { return cached(o); })
      .Case([&](AttentionBackwardOp o) -> Answer {
        auto [dq, dk, dv] =
            attentionBackward(at(o.getQ()), at(o.getK()), at(o.getV()), at(o.getSegments()),
                              at(o.getO()), at(o.getLse()), at(o.getDout()), scoresOf(o));
        return Tensors{dq, dk, dv};
      })
      .Case([&](CrossEntropyOp o) -> Answer {
        return loss(o, [&](const LogitOf &logit) {
          return Tensors{crossEntropy(at(o.getH()), at(o.getWeight()), at(o.getLabels()), logit)};
        });
      })
      .Case([&](CrossEntropyBackwardOp o) -> Answer {
        return loss(o, [&](const LogitOf &logit) {
          auto [row, dh] = crossEntropyBackward(at(o.getH()), at(o.getWeight()), at(o.getLabels()),
                                                environment.lossScale, logit);
          return Tensors{row, dh};
        });
      })
      .Case([&](LowRankOp o) -> Answer {
        return Tensors{lowRank(at(o.getX()), at(o.getA()), at(o.getB()), number(o.getScale()))};
      })
      .Case([&](LowRankBackwardOp o) -> Answer {
        auto [da, db, dx] = lowRankBackward(at(o.getX()), at(o.getA()), at(o.getB()), at(o.getDy()),
                                            number(o.getScale()));
        return o.getDx() ? Tensors{da, db, dx} : Tensors{da, db};
      })
      .Case([&](DropoutOp o) -> Answer {
        return Tensors{dropout(at(o.getX()), number(o.getP()), o.getStream(), environment.dropout)};
      })
      .Case([&](WeightNormOp o) -> Answer {
        return Tensors{
            weightNorm(at(o.getWeight()), at(o.getA()), at(o.getB()), number(o.getScale()))};
      })
      .Case([&](SumRowsOp o) -> Answer { return Tensors{sumRows(at(o.getX()))}; })
      .Case([&](OrthogonalTermOp o) -> Answer {
        OrthogonalTerm term = orthogonalTerm(at(o.getGram()), number(o.getScale()));
        return Tensors{term.gradient, term.norm};
      })
      .Case([&](MatmulOp o) -> Answer {
        auto product = o.getKind() == ProductKind::NT   ? matmulNT
                       : o.getKind() == ProductKind::NN ? matmulNN
                                                        : matmulTN;
        return Tensors{product(at(o.getA()), at(o.getB()), number(o.getScale()))};
      })
      .Case([&](ColumnsOp o) -> Answer {
        int64_t n = cast<RankedTensorType>(o.getY().getType()).getDimSize(1);
        return Tensors{columnsOf(at(o.getX()), o.getFrom(), n)};
      })
      .Case([&](ConcatOp o) -> Answer {
        std::vector<HostTensor> parts;
        for (Value part : o.getParts())
          parts.push_back(at(part));
        return Tensors{concatColumns(parts)};
      })
      .Case([&](FusedOp o) { return fused(o); })
      .Case([&](AdaptedLinearOp o) -> Answer { return Tensors{adaptedLinear(o)}; })
      .Case([&](AdaptedLinearBackwardOp o) -> Answer { return Tensors{adaptedLinearBackward(o)}; })
      .Default([&](Operation *o) { return elementwise(*o); });
}

LogicalResult Machine::walk(Block &block) {
  for (Operation &op : block.without_terminator()) {
    if (failed(checkIndices(op)))
      return failure();
    FailureOr<Tensors> results = evaluate(op);
    if (failed(results))
      return failure();
    for (auto [value, result] : llvm::zip_equal(op.getResults(), *results)) {
      if (!fits(result, value.getType()))
        return op.emitOpError("its value does not have the shape of ") << value.getType();
      values[value] = result;
    }
  }
  return success();
}

LogicalResult Machine::run(Block &block) {
  if (failed(walk(block)))
    return failure();
  for (Value value : block.getTerminator()->getOperands())
    outcome.results.push_back(at(value));
  return success();
}

FailureOr<Outcome> lorac::reference::interpret(ProgramOp function, ArrayRef<HostTensor> arguments,
                                               const Environment &environment) {
  if (!function.getBody().hasOneBlock())
    return function.emitOpError("the reference runs functions of one block");
  Machine machine{environment};
  Block &block = function.getBody().front();
  if (arguments.size() != block.getNumArguments())
    return function.emitOpError("takes ")
           << block.getNumArguments() << " arguments, got " << arguments.size();
  for (auto [value, argument] : llvm::zip(block.getArguments(), arguments)) {
    if (!fits(argument, value.getType()))
      return function.emitOpError("argument ")
             << value.getArgNumber() << " does not have the shape of " << value.getType();
    machine.values[value] = argument;
  }
  if (failed(machine.run(block)))
    return failure();
  return std::move(machine.outcome);
}
