#include "compiler/passes/select/BufferPlacement.h"

using namespace mlir;
using namespace lorac::lora;

int64_t lorac::lora::cols(Value value) { return columns(cast<RankedTensorType>(value.getType())); }

// What a value is called outside of the fused kernel that yields it.
static Value outside(Value value) {
  for (OpOperand &use : value.getUses())
    if (auto fused = dyn_cast<FusedOp>(use.getOwner()->getParentOp());
        fused && isa<YieldOp>(use.getOwner()))
      return fused.getResult(use.getOperandNumber());
  return value;
}

// The concatenation that a value is written into; null where it has a buffer of its own.
static ConcatOp concatOf(Value value) {
  for (Operation *user : outside(value).getUsers())
    if (auto concat = dyn_cast<ConcatOp>(user))
      return concat;
  return {};
}

int64_t lorac::lora::ld(Value value) {
  if (auto view = value.getDefiningOp<ViewOp>())
    return ld(view.getX());
  if (auto columns = value.getDefiningOp<ColumnsOp>())
    return ld(columns.getX());
  if (ConcatOp concat = concatOf(value))
    return ld(concat.getY());
  auto type = cast<RankedTensorType>(value.getType());
  return type.isDynamicDim(0) ? leadingDimension(columns(type)) : columns(type);
}

Value BufferPlacement::rootOf(Value value) {
  while (true)
    if (auto view = value.getDefiningOp<ViewOp>())
      value = view.getX();
    else if (auto columns = value.getDefiningOp<ColumnsOp>())
      value = columns.getX();
    else
      return value;
}

void BufferPlacement::findLastUses() {
  int64_t index = 0;
  for (Operation &op : program.front()) {
    op.walk([&](Operation *reader) {
      if (!isa<ViewOp, ColumnsOp>(reader))
        for (Value operand : reader->getOperands())
          lastUse[rootOf(operand)] = index;
    });
    ++index;
  }
}

MemRefType BufferPlacement::rowsType(int64_t rows, int64_t n, Type element) {
  return MemRefType::get({rows, leadingDimension(n)}, element);
}

int64_t BufferPlacement::elementBytes(Value memory) {
  return cast<MemRefType>(memory.getType()).getElementTypeBitWidth() / 8;
}

Value BufferPlacement::place(BufferRole role, StringRef label, MemRefType type) {
  Value &buffer = named[(stringifyBufferRole(role) + "/" + label).str()];
  if (!buffer) {
    OpBuilder atStart = OpBuilder::atBlockBegin(&program.front());
    buffer = BufferOp::create(atStart, program.getLoc(), type, role, label, -1);
  }
  return buffer;
}

// What the runtime calls an argument of i32, by its place among them.
static StringRef argumentName(ProgramOp program, unsigned place) {
  if (program.getName() == "loss")
    return place == 0 ? "labels" : "";
  static constexpr StringRef inOrder[] = {"ids", "positions", "segments", "labels"};
  return place < std::size(inOrder) ? inOrder[place] : "";
}

LogicalResult BufferPlacement::bindArguments() {
  isHead = program.getName() == "head";
  unsigned place32 = 0;
  for (BlockArgument argument : program.getArguments()) {
    auto type = cast<RankedTensorType>(argument.getType());
    if (type.getElementType().isInteger(32)) {
      StringRef name = argumentName(program, place32++);
      if (name.empty())
        return program.emitOpError(
            "has more arguments of i32 than ids, positions, segments, labels; "
            "their names are missing");
      bool starts = name == "segments";
      const int64_t segments = target.sequences ? target.sequences : maxTokens;
      buffers[argument] =
          place(BufferRole::IO, starts ? "segment_starts" : name,
                MemRefType::get({starts ? segments + 1 : maxTokens}, b.getI32Type()));
    } else {
      buffers[argument] =
          place(BufferRole::IO, isHead ? "head_in" : "hidden",
                rowsType(isHead ? headRows : maxTokens, cols(argument), target.activation));
    }
  }
  return success();
}

Type BufferPlacement::elementOf(Value tensor) {
  auto attention = tensor.getDefiningOp<AttentionOp>();
  bool isLse = attention && attention.getLse() == tensor, isLogits = isHead && isReturned(tensor);
  return isLse || isLogits ? b.getF32Type() : target.activation;
}

Value BufferPlacement::fresh(Value tensor, Location loc, StringRef what) {
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
    if (isa<ReturnOp>(use.getOwner()))
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

Value BufferPlacement::placeIn(ConcatOp concat, Value tensor) {
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

Value BufferPlacement::columnsOf(Location loc, Value memory, int64_t from) {
  return from == 0 ? memory
                   : SliceOp::create(b, loc, memory.getType(), memory, elementBytes(memory) * from);
}

bool BufferPlacement::isEven(Value memory) {
  auto part = memory.getDefiningOp<SliceOp>();
  return !part ||
         (part.getDelta() / elementBytes(part.getMemory()) % 2 == 0 && isEven(part.getMemory()));
}

bool BufferPlacement::isReturned(Value tensor) {
  return llvm::any_of(outside(tensor).getUsers(),
                      [](Operation *user) { return isa<ReturnOp>(user); });
}

Value BufferPlacement::over(Value operand, Value result, Location loc, StringRef what) {
  if (!operand)
    return fresh(result, loc, what);
  Operation *kernel = result.getDefiningOp();
  if (auto fused = dyn_cast<FusedOp>(kernel->getParentOp()))
    kernel = fused;
  int64_t reads = 0;
  kernel->walk([&](Operation *op) {
    if (!isa<ViewOp, ColumnsOp>(op))
      reads +=
          llvm::count_if(op->getOperands(), [&](Value v) { return rootOf(v) == rootOf(operand); });
  });
  if (diesHere(operand) && reads == 1 && !isInColumns(result) && !isReturned(result) &&
      cols(operand) == cols(result))
    return buffers.lookup(operand);
  return fresh(result, loc, what);
}

bool BufferPlacement::isInColumns(Value value) {
  while (auto view = value.getDefiningOp<ViewOp>())
    value = view.getX();
  return value.getDefiningOp<ColumnsOp>() || concatOf(value);
}

bool BufferPlacement::diesHere(Value value) {
  Value root = rootOf(value);
  return lastUse.lookup(root) == now && outside(root) == root && !isa<BlockArgument>(root) &&
         !isInColumns(value);
}

Value BufferPlacement::in(Value tensor) {
  Value buffer = buffers.lookup(tensor);
  assert(buffer && "ops come in order, so every operand has been placed");
  return buffer;
}

Value BufferPlacement::weight(Value value) {
  Value &copy = weights[value];
  if (!copy) {
    auto use = value.getDefiningOp<UseOp>();
    OpBuilder atStart = OpBuilder::atBlockBegin(&program.front());
    copy = UseOp::create(atStart, use.getLoc(), value.getType(), use.getSymbol());
  }
  return copy;
}

Value BufferPlacement::slice(Location loc, Value memory, int64_t begin, int64_t count) {
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
