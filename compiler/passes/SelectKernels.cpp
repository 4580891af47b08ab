// 40-fused -> 50-planned: ops become launches over buffers. The first pass that knows how
// activations lie in memory.

#include "compiler/passes/KernelTable.h"
#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/FormatVariadic.h"

namespace lorac::lora {
#define GEN_PASS_DEF_SELECTKERNELS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

int64_t cols(Value value) { return columns(cast<RankedTensorType>(value.getType())); }

// What a value is called outside of the fused kernel that yields it.
Value outside(Value value) {
  for (OpOperand &use : value.getUses())
    if (auto fused = dyn_cast<FusedOp>(use.getOwner()->getParentOp());
        fused && isa<YieldOp>(use.getOwner()))
      return fused.getResult(use.getOperandNumber());
  return value;
}

// The concatenation that a value is written into; null where it has a buffer of its own.
ConcatOp concatOf(Value value) {
  for (Operation *user : outside(value).getUsers())
    if (auto concat = dyn_cast<ConcatOp>(user))
      return concat;
  return {};
}

// Leading dimension: activations are padded, factors and their gradients are dense.
int64_t ld(Value value) {
  if (auto view = value.getDefiningOp<ViewOp>())
    return ld(view.getX());
  if (auto columns = value.getDefiningOp<ColumnsOp>())
    return ld(columns.getX());
  if (ConcatOp concat = concatOf(value))
    return ld(concat.getY());
  auto type = cast<RankedTensorType>(value.getType());
  return type.isDynamicDim(0) ? leadingDimension(columns(type)) : columns(type);
}

// How a target stores activations and which launches it takes.
struct TargetChoices {
  Type activation; ///< of `[tokens, n]` values
  bool isCuda =
      false; ///< kernels know their buffers' element types; attention's backward is three launches
};

// One function's ops, turned into launches one after another.
class Selector {
public:
  Selector(func::FuncOp func, KernelTable &kernels, const TargetChoices &target, int64_t maxTokens,
           int64_t maxLength, int64_t headRows)
      : func(func), kernels(kernels), target(target), b(func.getContext()), maxTokens(maxTokens),
        maxLength(maxLength), headRows(headRows) {}

  LogicalResult run() {
    findLastUses();
    Block &block = func.front();
    SmallVector<Operation *> ops;
    for (Operation &op : block)
      ops.push_back(&op);
    bindArguments();
    for (auto [index, op] : llvm::enumerate(ops)) {
      now = index;
      b.setInsertionPoint(block.getTerminator());
      if (failed(select(op)))
        return failure();
    }
    // The tensors are gone: launches over buffers are all that is left, and no argument or result.
    block.getTerminator()->setOperands({});
    for (Operation *op : llvm::reverse(ops))
      if (!isa<func::ReturnOp>(op))
        op->erase();
    block.eraseArguments(0, block.getNumArguments());
    func.setType(b.getFunctionType({}, {}));
    return success();
  }

private:
  func::FuncOp func;
  KernelTable &kernels;
  const TargetChoices &target;
  OpBuilder b;
  int64_t maxTokens, maxLength, headRows, now = 0, terms = 0;
  bool isHead = false;
  llvm::DenseMap<Value, Value> buffers;   // tensor -> memref
  llvm::DenseMap<Value, int64_t> lastUse; // by storage root
  llvm::DenseMap<Value, Value> weights;
  llvm::StringMap<Value> named; // io, table, param, grad buffers
  llvm::DenseMap<Operation *, Value> concats;
  SymbolTableCollection symbols;

  static Value rootOf(Value value) {
    while (true)
      if (auto view = value.getDefiningOp<ViewOp>())
        value = view.getX();
      else if (auto columns = value.getDefiningOp<ColumnsOp>())
        value = columns.getX();
      else
        return value;
  }

  void findLastUses() {
    int64_t index = 0;
    for (Operation &op : func.front()) {
      op.walk([&](Operation *reader) {
        if (!isa<ViewOp, ColumnsOp>(reader))
          for (Value operand : reader->getOperands())
            lastUse[rootOf(operand)] = index;
      });
      ++index;
    }
  }

  // Buffers.
  MemRefType rowsType(int64_t rows, int64_t n, Type element) {
    return MemRefType::get({rows, leadingDimension(n)}, element);
  }
  static int64_t elementBytes(Value memory) {
    return cast<MemRefType>(memory.getType()).getElementTypeBitWidth() / 8;
  }

  Value place(BufferRole role, StringRef label, MemRefType type) {
    Value &buffer = named[(stringifyBufferRole(role) + "/" + label).str()];
    if (!buffer) {
      OpBuilder atStart = OpBuilder::atBlockBegin(&func.front());
      buffer = BufferOp::create(atStart, func.getLoc(), type, role, label, -1);
    }
    return buffer;
  }

  void bindArguments() {
    isHead = func.getName() == "head";
    for (BlockArgument argument : func.getArguments()) {
      StringRef name = cast<NameLoc>(argument.getLoc()).getName();
      auto type = cast<RankedTensorType>(argument.getType());
      if (type.getElementType().isInteger(32)) {
        bool starts = name == "segments";
        buffers[argument] = place(BufferRole::IO, starts ? "segment_starts" : name,
                                  MemRefType::get({maxTokens + (starts ? 1 : 0)}, b.getI32Type()));
      } else {
        buffers[argument] =
            place(BufferRole::IO, isHead ? "head_in" : "hidden",
                  rowsType(isHead ? headRows : maxTokens, cols(argument), target.activation));
      }
    }
  }

  // Logarithms of sums and logits keep 32 bits on every target.
  Type elementOf(Value tensor) {
    auto attention = tensor.getDefiningOp<AttentionOp>();
    bool isLse = attention && attention.getLse() == tensor, isLogits = isHead && isReturned(tensor);
    return isLse || isLogits ? b.getF32Type() : target.activation;
  }

  Value fresh(Value tensor, Location loc, StringRef what) {
    if (ConcatOp concat = concatOf(tensor))
      return placeIn(concat, tensor);
    auto type = cast<RankedTensorType>(tensor.getType());
    MemRefType memory;
    if (!type.isDynamicDim(0))
      memory = MemRefType::get(type.getShape(), b.getF32Type());
    else if (type.getRank() == 1)
      memory = MemRefType::get({maxTokens}, b.getF32Type());
    else
      memory = rowsType(isHead ? headRows : maxTokens, columns(type), elementOf(tensor));
    // What the function returns has a place that the runtime reads.
    for (OpOperand &use : outside(tensor).getUses())
      if (isa<func::ReturnOp>(use.getOwner()))
        return place(BufferRole::IO,
                     type.getRank() == 1 ? "row_loss"
                     : isHead            ? "logits"
                                         : "hidden",
                     memory);
    std::string label = what.str();
    if (auto named = dyn_cast<NameLoc>(loc))
      label = (named.getName().strref() + "." + what).str();
    return BufferOp::create(b, loc, memory, BufferRole::Local, label, -1);
  }

  // The columns of a concatenation that one of its operands is written to; the first one to come
  // brings the buffer with it.
  Value placeIn(ConcatOp concat, Value tensor) {
    Value &whole = concats[concat];
    if (!whole)
      whole = fresh(concat.getY(), concat.getLoc(), "t");
    int64_t from = 0;
    for (Value part : concat.getParts()) {
      if (part == tensor)
        break;
      from += cols(part);
    }
    return columnsOf(concat.getLoc(), whole, from);
  }

  // A buffer from one of its columns on; the rows stay as long.
  Value columnsOf(Location loc, Value memory, int64_t from) {
    return from == 0
               ? memory
               : SliceOp::create(b, loc, memory.getType(), memory, elementBytes(memory) * from);
  }

  // Rows begin at an even column of the matrix that the buffer is a part of.
  static bool isEven(Value memory) {
    auto part = memory.getDefiningOp<SliceOp>();
    return !part ||
           (part.getDelta() / elementBytes(part.getMemory()) % 2 == 0 && isEven(part.getMemory()));
  }

  bool isReturned(Value tensor) {
    return llvm::any_of(outside(tensor).getUsers(),
                        [](Operation *user) { return isa<func::ReturnOp>(user); });
  }

  // The operand's buffer where its value dies here, the op reads it once and it is ours to
  // overwrite; a fresh one otherwise.
  Value over(Value operand, Value result, Location loc, StringRef what) {
    if (!operand)
      return fresh(result, loc, what);
    Operation *kernel = result.getDefiningOp();
    if (auto fused = dyn_cast<FusedOp>(kernel->getParentOp()))
      kernel = fused;
    int64_t reads = 0;
    kernel->walk([&](Operation *op) {
      if (!isa<ViewOp, ColumnsOp>(op))
        reads += llvm::count_if(op->getOperands(),
                                [&](Value v) { return rootOf(v) == rootOf(operand); });
    });
    if (diesHere(operand) && reads == 1 && !isInColumns(result) && !isReturned(result) &&
        cols(operand) == cols(result))
      return buffers.lookup(operand);
    return fresh(result, loc, what);
  }

  // Whether the value's columns are some of a wider buffer's.
  static bool isInColumns(Value value) {
    while (auto view = value.getDefiningOp<ViewOp>())
      value = view.getX();
    return value.getDefiningOp<ColumnsOp>() || concatOf(value);
  }

  // Whether nobody reads the value after this op and its buffer is ours to write over.
  bool diesHere(Value value) {
    Value root = rootOf(value);
    return lastUse.lookup(root) == now && outside(root) == root && !isa<BlockArgument>(root) &&
           !isInColumns(value);
  }

  Value in(Value tensor) {
    Value buffer = buffers.lookup(tensor);
    assert(buffer && "ops come in order, so every operand has been placed");
    return buffer;
  }

  Value weight(Value value) {
    Value &copy = weights[value];
    if (!copy) {
      auto use = value.getDefiningOp<UseOp>();
      OpBuilder atStart = OpBuilder::atBlockBegin(&func.front());
      copy = UseOp::create(atStart, use.getLoc(), value.getType(), use.getSymbol());
    }
    return copy;
  }

  // Launches.
  NamedAttribute integer(StringRef name, int64_t value) {
    return b.getNamedAttr(name, b.getI64IntegerAttr(value));
  }
  NamedAttribute number(StringRef name, double value) {
    return b.getNamedAttr(name, b.getF64FloatAttr(value));
  }
  NamedAttribute flag(StringRef name, bool value) {
    return b.getNamedAttr(name, b.getBoolAttr(value));
  }
  NamedAttribute formatOf(Value w) {
    return b.getNamedAttr("format", b.getStringAttr(cast<WeightType>(w.getType()).formatName()));
  }

  LaunchOp launch(Location loc, KernelKey key, ValueRange operands, int64_t flops, int64_t begin,
                  int64_t count, DenseI64ArrayAttr scalars = nullptr) {
    if (target.isCuda) {
      key.params.push_back(b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))));
      key.params.push_back(integer("rows", count));
    }
    auto op = LaunchOp::create(b, loc, kernels.get(key, loc), operands, b.getI64IntegerAttr(begin),
                               b.getI64IntegerAttr(count), scalars, /*fixed=*/UnitAttr());
    op->setAttr("flops", b.getI64IntegerAttr(flops));
    return op;
  }
  void launch(Location loc, const KernelKey &key, ValueRange operands, int64_t flops,
              DenseI64ArrayAttr scalars = nullptr) {
    launch(loc, key, operands, flops, 0, isHead ? headRows : maxTokens, scalars);
  }
  int64_t tokens() const { return isHead ? headRows : maxTokens; }

  LogicalResult select(Operation *op) {
    return llvm::TypeSwitch<Operation *, LogicalResult>(op)
        .Case<EmbedOp, RmsNormOp, RmsNormBackwardOp, RopeOp, AttentionOp, AttentionBackwardOp,
              MapOp, DropoutOp, MatmulOp, OrthogonalTermOp, AdaptedLinearOp,
              AdaptedLinearBackwardOp, CrossEntropyOp, CrossEntropyBackwardOp, GradientOp, FusedOp,
              UseOp, ViewOp, ColumnsOp, ConcatOp>([&](auto typed) {
          selectOp(typed);
          return success();
        })
        .Case([](func::ReturnOp) { return success(); })
        .Default([](Operation *other) {
          return other->emitOpError("has no kernel: FuseKernels should have taken it in");
        });
  }

  void selectOp(UseOp op) {
    if (isa<WeightType>(op.getValue().getType()))
      return;
    auto type = cast<RankedTensorType>(op.getValue().getType());
    buffers[op.getValue()] =
        place(BufferRole::Param, op.getSymbol(), MemRefType::get(type.getShape(), b.getF32Type()));
  }
  void selectOp(ViewOp op) { buffers[op.getY()] = in(op.getX()); }
  void selectOp(ColumnsOp op) {
    buffers[op.getY()] = columnsOf(op.getLoc(), in(op.getX()), op.getFrom());
  }
  void selectOp(ConcatOp op) {
    assert(concats.contains(op) && "the products that it reads have brought its buffer");
    buffers[op.getY()] = concats[op];
  }
  void selectOp(GradientOp op) {} // its matmul writes into the gradient's place

  void selectOp(EmbedOp op) {
    Value y = fresh(op.getY(), op.getLoc(), "out");
    auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
    launch(op.getLoc(),
           {"embed",
            {integer("n", shape[0]), integer("k", shape[1]), integer("ldy", ld(op.getY())),
             formatOf(op.getWeight())}},
           {in(op.getIds()), weight(op.getWeight()), y}, 0);
    buffers[op.getY()] = y;
  }

  void selectOp(RmsNormOp op) {
    Value y = fresh(op.getY(), op.getLoc(), "norm");
    launch(op.getLoc(),
           {"rms_norm_forward",
            {integer("n", cols(op.getX())), integer("ldx", ld(op.getX())),
             integer("ldy", ld(op.getY())), number("eps", op.getEps().convertToDouble())}},
           {in(op.getX()), weight(op.getWeight()), y}, tokens() * 4 * cols(op.getX()));
    buffers[op.getY()] = y;
  }

  void selectOp(RmsNormBackwardOp op) {
    Value dx = op.getOnto() ? onto(op.getOnto(), op.getDx(), op.getLoc())
                            : fresh(op.getDx(), op.getLoc(), "dnorm");
    launch(op.getLoc(),
           {"rms_norm_backward",
            {integer("n", cols(op.getX())), integer("ldx", ld(op.getX())),
             integer("lddy", ld(op.getDy())), integer("lddx", ld(op.getDx())),
             number("eps", op.getEps().convertToDouble()), flag("accumulate", bool(op.getOnto()))}},
           {in(op.getX()), weight(op.getWeight()), in(op.getDy()), dx},
           tokens() * 10 * cols(op.getX()));
    buffers[op.getDx()] = dx;
  }

  // A buffer that begins as the value `base`: its own where it dies here, a copy otherwise.
  Value onto(Value base, Value result, Location loc) {
    Value buffer = over(base, result, loc, "sum");
    if (buffer != in(base))
      copy(loc, base, buffer);
    return buffer;
  }

  void copy(Location loc, Value from, Value to) {
    int64_t n = cols(from), lead = leadingDimension(n);
    launch(loc,
           {"map",
            {integer("cols", n), integer("ins", 1), integer("outs", 1),
             b.getNamedAttr("lds", b.getDenseI64ArrayAttr({lead, lead}))},
            nullptr},
           {in(from), to}, 0);
  }

  Value ropeTable(RopeOp op) {
    Value table =
        place(BufferRole::Table, llvm::formatv("rope/{0}", op.getTheta().convertToDouble()).str(),
              MemRefType::get({maxLength, headDim(op)}, b.getF32Type()));
    table.getDefiningOp()->setAttr("theta", op.getThetaAttr());
    return table;
  }

  void selectOp(RopeOp op) {
    auto type = cast<RankedTensorType>(op.getX().getType());
    int64_t d = type.getDimSize(2);
    Value y = over(op.getX(), op.getY(), op.getLoc(), "rope");
    launch(op.getLoc(),
           {"rope",
            {integer("heads", type.getDimSize(1)), integer("head_dim", d),
             integer("ldx", ld(op.getX())), integer("ldy", ld(op.getY())),
             flag("inverse", op.getInverse())}},
           {in(op.getX()), in(op.getPositions()), ropeTable(op), y},
           tokens() * 3 * cols(op.getX()));
    buffers[op.getY()] = y;
  }

  SmallVector<NamedAttribute> attentionParams(Value q, Value k, double scale) {
    auto qType = cast<RankedTensorType>(q.getType()), kType = cast<RankedTensorType>(k.getType());
    int64_t heads = qType.getDimSize(1);
    return {integer("heads", heads),
            integer("kv_heads", kType.getDimSize(1)),
            integer("head_dim", qType.getDimSize(2)),
            integer("ldq", ld(q)),
            integer("ldk", ld(k)),
            integer("ldv", ld(k)),
            integer("ldo", ld(q)),
            integer("ldl", leadingDimension(heads)),
            number("scale", scale),
            integer("max_segment", maxLength)};
  }

  void selectOp(AttentionOp op) {
    Value o = fresh(op.getO(), op.getLoc(), "attention"),
          lse = fresh(op.getLse(), op.getLoc(), "lse");
    launch(op.getLoc(),
           {"attention_forward",
            attentionParams(op.getQ(), op.getK(), op.getScale().convertToDouble())},
           {in(op.getQ()), in(op.getK()), in(op.getV()),
            target.isCuda ? positions() : in(op.getSegments()), o, lse},
           2 * tokens() * maxLength * cols(op.getO()));
    buffers[op.getO()] = o, buffers[op.getLse()] = lse;
  }

  void selectOp(AttentionBackwardOp op) {
    Value dq = fresh(op.getDq(), op.getLoc(), "dq"), dk = fresh(op.getDk(), op.getLoc(), "dk"),
          dv = fresh(op.getDv(), op.getLoc(), "dv");
    auto params = attentionParams(op.getQ(), op.getK(), op.getScale().convertToDouble());
    params.append({integer("lddo", ld(op.getDout())), integer("lddq", ld(op.getDq())),
                   integer("lddk", ld(op.getDk())), integer("lddv", ld(op.getDv()))});
    if (target.isCuda)
      return selectAttentionBackwardCuda(op, params, dq, dk, dv);
    launch(op.getLoc(), {"attention_backward", params},
           {in(op.getQ()), in(op.getK()), in(op.getV()), in(op.getSegments()), in(op.getO()),
            in(op.getLse()), in(op.getDout()), dq, dk, dv},
           5 * tokens() * maxLength * cols(op.getO()));
    buffers[op.getDq()] = dq, buffers[op.getDk()] = dk, buffers[op.getDv()] = dv;
  }

  // Where samples lie: the CPU's tiles are samples, a GPU's are rows that ask for the ends of
  // theirs.
  Value segments(Value starts) {
    if (!target.isCuda)
      return in(starts);
    return place(BufferRole::IO, "row_ends", MemRefType::get({maxTokens}, b.getI32Type()));
  }
  Value positions() {
    return place(BufferRole::IO, "positions", MemRefType::get({maxTokens}, b.getI32Type()));
  }

  // What a head's row needs first, [heads][tokens][4]: lse, rowsum(do·o) and where its sample
  // begins. Then dq by blocks of queries, dk and dv by blocks of keys: no two blocks add to one
  // place.
  void selectAttentionBackwardCuda(AttentionBackwardOp op, ArrayRef<NamedAttribute> params,
                                   Value dq, Value dk, Value dv) {
    auto type = MemRefType::get({tokens(), 4 * cols(op.getLse())}, b.getF32Type());
    Value stats = BufferOp::create(b, op.getLoc(), type, BufferRole::Local, "row_stats", -1),
          ends = segments(op.getSegments());
    SmallVector<NamedAttribute> all(params);
    int64_t flops = tokens() * maxLength * cols(op.getO());
    launch(op.getLoc(), {"attention_delta", all},
           {in(op.getO()), in(op.getDout()), in(op.getLse()), positions(), stats}, 0);
    launch(op.getLoc(), {"attention_backward_q", all},
           {in(op.getQ()), in(op.getK()), in(op.getV()), stats, in(op.getDout()), dq}, 2 * flops);
    launch(op.getLoc(), {"attention_backward_kv", all},
           {in(op.getQ()), in(op.getK()), in(op.getV()), ends, stats, in(op.getDout()), dk, dv},
           3 * flops);
    buffers[op.getDq()] = dq, buffers[op.getDk()] = dk, buffers[op.getDv()] = dv;
  }

  void selectOp(MapOp op) {
    SmallVector<Value> operands;
    SmallVector<int64_t> lds;
    for (Value input : op.getInputs())
      operands.push_back(in(input)), lds.push_back(ld(input));
    placeOutputs(op, op.getInputs(), [&](Value buffer, int64_t lead) {
      operands.push_back(buffer), lds.push_back(lead);
    });
    int64_t n = cols(op.getOutputs().front());
    launch(op.getLoc(),
           {"map",
            {integer("cols", n), integer("ins", op.getInputs().size()),
             integer("outs", op.getOutputs().size()),
             b.getNamedAttr("lds", b.getDenseI64ArrayAttr(lds))},
            &op.getBody()},
           operands, tokens() * n * int64_t(op.getBody().front().getOperations().size() - 1));
  }

  // A map's results, over those of its inputs that die here.
  void placeOutputs(MapOp op, ValueRange inputs,
                    llvm::function_ref<void(Value buffer, int64_t lead)> placed) {
    llvm::DenseSet<Value> taken;
    for (Value output : op.getOutputs()) {
      Value buffer;
      for (Value input : inputs)
        if (!buffer && diesHere(input) && !isReturned(output) && taken.insert(in(input)).second)
          buffer = in(input);
      buffers[output] = buffer ? buffer : fresh(output, op.getLoc(), "map");
      placed(buffers[output], ld(output));
    }
  }

  void selectOp(DropoutOp op) {
    Value y = fresh(op.getY(), op.getLoc(), "dropout");
    launch(op.getLoc(),
           {"dropout",
            {number("p", op.getP().convertToDouble()), integer("cols", cols(op.getX())),
             integer("ldx", ld(op.getX())), integer("ldy", ld(op.getY())),
             integer("stream", op.getStream()), flag("accumulate", false)}},
           {in(op.getX()), y}, tokens() * cols(op.getX()));
    buffers[op.getY()] = y;
  }

  void selectOp(MatmulOp op) {
    auto a = cast<RankedTensorType>(op.getA().getType()),
         c = cast<RankedTensorType>(op.getC().getType());
    // The rows that a launch counts: tokens, or those of a gradient of W.
    bool fixed = !a.isDynamicDim(0), isTn = op.getKind() == ProductKind::TN;
    int64_t rows = fixed ? a.getDimSize(0) : tokens();
    auto sink =
        op.getC().hasOneUse() ? dyn_cast<GradientOp>(*op.getC().user_begin()) : GradientOp();
    Value out = sink ? place(BufferRole::Grad, sink.getSymbol(),
                             MemRefType::get(c.getShape(), b.getF32Type()))
                     : fresh(op.getC(), op.getLoc(), "t");
    buffers[op.getC()] = out;
    Sizes sizes;
    const bool columnsAreRank = rankColumns(op.getC());
    if (isTn)
      sizes.add("i", c.getDimSize(0), rankColumns(op.getA()));
    else
      sizes.add("k", a.getDimSize(1), rankColumns(op.getA()));
    sizes.add("j", c.getDimSize(1), columnsAreRank);
    sizes.add("lda", ld(op.getA()), rankColumns(op.getA()));
    sizes.add("ldb", ld(op.getB()), rankColumns(op.getB()));
    sizes.add("ldc", ld(op.getC()), columnsAreRank);
    SmallVector<NamedAttribute> params = sizesOf(sizes);
    if (!isTn)
      params.push_back(flag("exact", bool(sink) || isInColumns(op.getC()) || !c.isDynamicDim(0)));
    if (isTn && target.isCuda) // two columns of a row are one word
      params.push_back(flag("even", isEven(in(op.getA())) && isEven(in(op.getB()))));
    if (!target.isCuda && columnsAreRank) // how wide the tiles are
      params.push_back(integer("columns", c.getDimSize(1) <= 8 ? 8 : 16));
    params.append(
        {number("scale", op.getScale().convertToDouble()), flag("accumulate", bool(sink))});
    int64_t other = isTn ? c.getDimSize(0) : a.getDimSize(1);
    auto made =
        launch(op.getLoc(), {("matmul_" + stringifyProductKind(op.getKind())).str(), params},
               {in(op.getA()), in(op.getB()), out}, 2 * rows * c.getDimSize(1) * other, 0, rows,
               scalarsOf(sizes));
    made.setFixed(fixed);
  }

  // Sizes of a kernel. Those that are ranks, or leading dimensions of what is as wide as a rank,
  // come with the launch on a CPU: one kernel serves every rank, and ranks that fall need no new
  // one.
  struct Sizes {
    SmallVector<std::pair<StringRef, int64_t>> fixed, ranks;
    void add(StringRef name, int64_t value, bool isRank) {
      (isRank ? ranks : fixed).push_back({name, value});
    }
  };
  SmallVector<NamedAttribute> sizesOf(const Sizes &sizes) {
    SmallVector<NamedAttribute> params;
    for (auto [name, value] : sizes.fixed)
      params.push_back(integer(name, value));
    SmallVector<Attribute> names;
    for (auto [name, value] : sizes.ranks)
      if (target.isCuda)
        params.push_back(integer(name, value));
      else
        names.push_back(b.getStringAttr(name));
    if (!names.empty())
      params.push_back(b.getNamedAttr("scalars", b.getArrayAttr(names)));
    return params;
  }
  DenseI64ArrayAttr scalarsOf(const Sizes &sizes) {
    if (target.isCuda || sizes.ranks.empty())
      return {};
    SmallVector<int64_t> values;
    for (auto [name, value] : sizes.ranks)
      values.push_back(value);
    return b.getDenseI64ArrayAttr(values);
  }

  // Whether a value's columns, or its rows, are counted by a rank: factors, and what products make
  // of them.
  bool rankColumns(Value value) { return isRank(value, /*columns=*/true); }
  bool isRank(Value value, bool columns) {
    Operation *op = value.getDefiningOp();
    if (auto use = dyn_cast_or_null<UseOp>(op)) {
      Operation *symbol = symbols.lookupNearestSymbolFrom(op, use.getSymbolAttr());
      while (auto stack = dyn_cast_or_null<StackOp>(symbol))
        symbol = symbols.lookupNearestSymbolFrom(op, cast<SymbolRefAttr>(stack.getParts()[0]));
      auto group = symbol ? symbol->getAttrOfType<StringAttr>("group") : StringAttr();
      return group && group == (columns ? "lora_B" : "lora_A");
    }
    if (auto product = dyn_cast_or_null<MatmulOp>(op)) {
      const bool isTn = product.getKind() == ProductKind::TN;
      return columns ? isRank(product.getB(), product.getKind() != ProductKind::NT)
                     : isRank(product.getA(), isTn);
    }
    if (auto part = dyn_cast_or_null<ColumnsOp>(op))
      return isRank(part.getX(), columns);
    if (auto view = dyn_cast_or_null<ViewOp>(op))
      return isRank(view.getX(), columns);
    if (auto concat = dyn_cast_or_null<ConcatOp>(op))
      return isRank(concat.getParts().front(), columns);
    return isa_and_nonnull<OrthogonalTermOp>(op);
  }

  // Over the Gram matrix, which nothing else reads. The norms stand side by side in the order of
  // the terms.
  void selectOp(OrthogonalTermOp op) {
    int64_t r = cols(op.getGram()), all = llvm::range_size(func.getOps<OrthogonalTermOp>());
    Value gram = in(op.getGram()),
          norms = place(BufferRole::IO, "orthogonality", MemRefType::get({all}, b.getF32Type()));
    Value norm =
        SliceOp::create(b, op.getLoc(), MemRefType::get({1}, b.getF32Type()), norms, 4 * terms++);
    Sizes sizes;
    sizes.add("n", r, rankColumns(op.getGram()));
    SmallVector<NamedAttribute> params = sizesOf(sizes);
    params.push_back(number("scale", op.getScale().convertToDouble()));
    launch(op.getLoc(), {"orthogonal_term", params}, {gram, norm}, 4 * r * r, 0, r,
           scalarsOf(sizes))
        .setFixed(true);
    buffers[op.getGradient()] = gram, buffers[op.getNorm()] = norm;
  }

  // A product with a frozen weight: its kernel and operands, the result still missing.
  struct Product {
    KernelKey key;
    SmallVector<Value> operands;
    int64_t flops;
    DenseI64ArrayAttr scalars; ///< of the launch
  };

  // Scratch of a CPU's kernel has place for so many ranks, or a multiple: a bound that neither the
  // updates of one x, stacked, nor ranks that fall should often pass, for each is another kernel.
  static constexpr int64_t ranksOfScratch = 256;

  // The rank of an update and t's leading dimension come with the launch, so that a kernel serves
  // every rank.
  SmallVector<NamedAttribute> rankParams(Value t, StringRef ldName) {
    if (target.isCuda)
      return {flag("low_rank", bool(t))};
    if (!t)
      return {integer("rank", 0), integer(ldName, 0)};
    return {integer("most_rank", llvm::alignTo(cols(t), ranksOfScratch)),
            b.getNamedAttr("scalars",
                           b.getArrayAttr({b.getStringAttr("rank"), b.getStringAttr(ldName)}))};
  }
  DenseI64ArrayAttr rankScalars(Value t) {
    return t ? b.getDenseI64ArrayAttr({cols(t), ld(t)}) : DenseI64ArrayAttr();
  }

  Product productOf(AdaptedLinearOp op) {
    auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
    int64_t rank = op.getT() ? cols(op.getT()) : 0;
    SmallVector<Value> operands{in(op.getX()), weight(op.getWeight())};
    if (op.getT())
      operands.append({in(op.getT()), in(op.getB())});
    if (op.getResidual())
      operands.push_back(in(op.getResidual()));
    return {{"linear_forward",
             linearParams(op.getWeight(), op.getT(),
                          {integer("ldx", ld(op.getX())), integer("ldy", ld(op.getY())),
                           number("scale", op.getScale().convertToDouble()),
                           integer("ldr", op.getResidual() ? ld(op.getResidual()) : 0),
                           flag("residual", bool(op.getResidual()))})},
            operands,
            2 * tokens() * shape[0] * (shape[1] + rank),
            rankScalars(op.getT())};
  }
  Product productOf(AdaptedLinearBackwardOp op) {
    auto shape = cast<WeightType>(op.getWeight().getType()).getShape();
    int64_t rank = op.getDt() ? cols(op.getDt()) : 0;
    SmallVector<Value> operands{in(op.getDy()), weight(op.getWeight())};
    if (op.getDt())
      operands.append({in(op.getDt()), in(op.getA())});
    return {{"linear_backward", linearBackwardParams(op.getWeight(), op.getDt(), ld(op.getDy()),
                                                     ld(op.getDx()), bool(op.getOnto()))},
            operands,
            2 * tokens() * shape[1] * (shape[0] + rank),
            rankScalars(op.getDt())};
  }
  void launchProduct(Location loc, Product product, Value result) {
    product.operands.push_back(result);
    launch(loc, product.key, product.operands, product.flops, product.scalars);
  }

  void selectOp(AdaptedLinearOp op) {
    Value y = over(op.getResidual(), op.getY(), op.getLoc(), "out");
    launchProduct(op.getLoc(), productOf(op), y);
    buffers[op.getY()] = y;
  }
  void selectOp(AdaptedLinearBackwardOp op) {
    Value dx = op.getOnto() ? onto(op.getOnto(), op.getDx(), op.getLoc())
                            : fresh(op.getDx(), op.getLoc(), "dx");
    launchProduct(op.getLoc(), productOf(op), dx);
    buffers[op.getDx()] = dx;
  }

  // On a CPU a launch after another is as fast as one kernel (docs/design.md, "What fusion is for,
  // and where it stops"); on a GPU the product's kernel goes on with its result.
  void selectOp(FusedOp op) {
    Block &body = op.getBody().front();
    Operation *product = &body.front(), *epilogue = body.getTerminator()->getPrevNode();
    if (!target.isCuda || !selectWithEpilogue(product, epilogue, body.getTerminator()))
      for (Operation &inner : body.without_terminator())
        (void)select(&inner); // ops of the kinds that the verifier allows have kernels
    for (auto [outer, inner] : llvm::zip(op.getOutputs(), body.getTerminator()->getOperands()))
      buffers[outer] = in(inner);
  }

  // False, and nothing done, where the device's linears have no such epilogue.
  bool selectWithEpilogue(Operation *op, Operation *epilogue, Operation *yield) {
    auto forward = dyn_cast<AdaptedLinearOp>(op);
    auto backward = dyn_cast<AdaptedLinearBackwardOp>(op);
    if ((forward && forward.getResidual()) || (backward && backward.getOnto()))
      return false;
    auto isProduct = [&](Value value) { return rootOf(value) == op->getResult(0); };
    bool keeps = llvm::any_of(yield->getOperands(), isProduct);
    if (auto rope = dyn_cast<RopeOp>(epilogue); rope && !(keeps || !ropeFits(rope))) {
      Product product = forward ? productOf(forward) : productOf(backward);
      Value y = fresh(rope.getY(), rope.getLoc(), "rope");
      product.key.params.append({b.getNamedAttr("epilogue", b.getStringAttr("rope")),
                                 integer("rope", headDim(rope)),
                                 flag("inverse", rope.getInverse())});
      product.operands.append({in(rope.getPositions()), ropeTable(rope)});
      launchProduct(op->getLoc(), product, y);
      buffers[rope.getY()] = y;
      return true;
    }
    auto map = dyn_cast<MapOp>(epilogue);
    if (!map || cols(map.getOutputs().front()) != cols(op->getResult(0)))
      return false;
    Product product = forward ? productOf(forward) : productOf(backward);
    if (keeps) {
      Value y = fresh(op->getResult(0), op->getLoc(), forward ? "out" : "dx");
      product.operands.push_back(y);
      buffers[op->getResult(0)] = y;
    }
    // Where an argument of the body comes from: the product (-1), or one of the other operands.
    SmallVector<int64_t> sources, lds;
    SmallVector<Value> others;
    for (Value input : map.getInputs()) {
      sources.push_back(isProduct(input) ? -1 : int64_t(others.size()));
      if (!isProduct(input))
        others.push_back(input), product.operands.push_back(in(input)), lds.push_back(ld(input));
    }
    placeOutputs(map, others, [&](Value buffer, int64_t lead) {
      product.operands.push_back(buffer), lds.push_back(lead);
    });
    product.key.params.append({b.getNamedAttr("epilogue", b.getStringAttr("map")),
                               flag("keeps", keeps),
                               b.getNamedAttr("sources", b.getDenseI64ArrayAttr(sources)),
                               b.getNamedAttr("lds", b.getDenseI64ArrayAttr(lds))});
    product.key.body = &map.getBody();
    launch(op->getLoc(), product.key, product.operands, product.flops, product.scalars);
    return true;
  }

  // Heads that a block of 128 columns holds whole, in halves of whole pieces.
  static int64_t headDim(RopeOp op) {
    return cast<RankedTensorType>(op.getX().getType()).getDimSize(2);
  }
  static bool ropeFits(RopeOp op) { return 128 % headDim(op) == 0 && headDim(op) % 16 == 0; }

  SmallVector<NamedAttribute> linearParams(Value w, Value t, ArrayRef<NamedAttribute> more,
                                           StringRef ldName = "ldt") {
    auto shape = cast<WeightType>(w.getType()).getShape();
    SmallVector<NamedAttribute> params{integer("n", shape[0]), integer("k", shape[1]), formatOf(w)};
    llvm::append_range(params, rankParams(t, ldName));
    llvm::append_range(params, more);
    return params;
  }
  SmallVector<NamedAttribute> linearBackwardParams(Value w, Value dt, int64_t lddy, int64_t lddx,
                                                   bool accumulate) {
    return linearParams(
        w, dt, {integer("lddy", lddy), integer("lddx", lddx), flag("accumulate", accumulate)},
        "lddt");
  }

  void selectOp(CrossEntropyOp op) {
    Value losses = fresh(op.getRowLoss(), op.getLoc(), "row_loss");
    selectLoss(op.getLoc(), op.getH(), op.getWeight(), op.getLabels(), losses, Value());
    buffers[op.getRowLoss()] = losses;
  }
  void selectOp(CrossEntropyBackwardOp op) {
    Value losses = fresh(op.getRowLoss(), op.getLoc(), "row_loss"),
          dh = fresh(op.getDh(), op.getLoc(), "dh");
    selectLoss(op.getLoc(), op.getH(), op.getWeight(), op.getLabels(), losses, dh);
    buffers[op.getRowLoss()] = losses, buffers[op.getDh()] = dh;
  }

  // Head, cross entropy and the head's dX for one chunk of rows after another: logits never exist
  // as a whole.
  void selectLoss(Location loc, Value h, Value w, Value labels, Value losses, Value dh) {
    auto shape = cast<WeightType>(w.getType()).getShape();
    int64_t vocab = shape[0], ldl = leadingDimension(vocab), rows = std::min(headRows, maxTokens);
    Value logits = BufferOp::create(b, loc, MemRefType::get({rows, ldl}, b.getF32Type()),
                                    BufferRole::Local, "logits of a chunk", -1);
    // The gradient by the logits is an activation: where it is no float32 it has a place of its
    // own.
    Value dlogits = logits;
    if (dh && target.activation != b.getF32Type())
      dlogits = BufferOp::create(b, loc, MemRefType::get({rows, ldl}, target.activation),
                                 BufferRole::Local, "gradient of a chunk's logits", -1);
    KernelKey forward{"linear_forward", linearParams(w, Value(),
                                                     {integer("ldx", ld(h)), integer("ldy", ldl),
                                                      number("scale", 1.0), integer("ldr", 0),
                                                      flag("residual", false)})};
    KernelKey entropy{"cross_entropy",
                      {integer("vocab", vocab), integer("ld", ldl), flag("backward", bool(dh))}};
    KernelKey backward{"linear_backward", linearBackwardParams(w, Value(), ldl, ld(h), false)};
    for (int64_t begin = 0; begin < maxTokens; begin += rows) {
      int64_t count = std::min(rows, maxTokens - begin), flops = 2 * count * vocab * shape[1];
      launch(loc, forward, {slice(loc, in(h), begin, count), weight(w), logits}, flops, begin,
             count);
      SmallVector<Value> operands{logits, slice(loc, in(labels), begin, count),
                                  slice(loc, losses, begin, count)};
      if (dlogits != logits)
        operands.push_back(dlogits);
      launch(loc, entropy, operands, 5 * count * vocab, begin, count);
      if (dh)
        launch(loc, backward, {dlogits, weight(w), slice(loc, dh, begin, count)}, flops, begin,
               count);
    }
  }

  Value slice(Location loc, Value memory, int64_t begin, int64_t count) {
    auto type = cast<MemRefType>(memory.getType());
    if (begin == 0 && count == type.getDimSize(0))
      return memory;
    SmallVector<int64_t> shape(type.getShape());
    int64_t rowBytes = elementBytes(memory);
    for (int64_t n : ArrayRef(shape).drop_front())
      rowBytes *= n;
    shape[0] = count;
    return SliceOp::create(b, loc, MemRefType::get(shape, type.getElementType()), memory,
                           begin * rowBytes);
  }
};

struct SelectKernelsPass : lorac::lora::impl::SelectKernelsBase<SelectKernelsPass> {
  using Base::Base;

  // What a chunk costs beside its products is a pass over the head's weight.
  int64_t chooseHeadRows(ModuleOp module) const {
    constexpr int64_t step = 128, mostRows = 1024, mostBytes = int64_t(256) << 20;
    int64_t vocab = 1;
    module.walk([&](CrossEntropyBackwardOp op) {
      vocab = std::max(vocab, cast<WeightType>(op.getWeight().getType()).getShape()[0]);
    });
    if (device != "cuda")
      return step;
    return std::clamp(mostBytes / (4 * vocab) / step * step, step, mostRows);
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto tokens = module->getAttrOfType<IntegerAttr>("lora.max_tokens"),
         length = module->getAttrOfType<IntegerAttr>("lora.max_length");
    if (!tokens || !length) {
      module.emitError("needs the attributes 'lora.max_tokens' and 'lora.max_length'");
      return signalPassFailure();
    }
    if (headRows == 0)
      headRows = chooseHeadRows(module);
    headRows = std::min<int64_t>(headRows, tokens.getInt());
    Builder b(module.getContext());
    TargetChoices target{b.getF32Type()};
    if (device == "cuda") {
      target.isCuda = true;
      target.activation = compute == "f16" ? Type(b.getF16Type()) : Type(b.getBF16Type());
    }
    KernelTable kernels(module);
    for (auto func : module.getOps<func::FuncOp>())
      if (failed(Selector(func, kernels, target, tokens.getInt(), length.getInt(), headRows).run()))
        return signalPassFailure();
    module->setAttr("lora.head_rows",
                    IntegerAttr::get(IntegerType::get(&getContext(), 64), headRows));
  }
};

} // namespace
