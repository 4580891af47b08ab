// The walk over a function, what only renames buffers, and what every launch is made of.

#include "compiler/passes/select/Selector.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace lorac::lora;

LogicalResult Selector::run() {
  findLastUses();
  Block &block = program.front();
  SmallVector<Operation *> ops;
  for (Operation &op : block)
    ops.push_back(&op);
  if (failed(bindArguments()))
    return failure();
  for (auto [index, op] : llvm::enumerate(ops)) {
    now = index;
    b.setInsertionPoint(block.getTerminator());
    if (failed(select(op)))
      return failure();
  }
  // The tensors are gone: launches over buffers are all that is left, and no argument or result.
  block.getTerminator()->setOperands({});
  for (Operation *op : llvm::reverse(ops))
    if (!isa<ReturnOp>(op))
      op->erase();
  block.eraseArguments(0, block.getNumArguments());
  program.setType(b.getFunctionType({}, {}));
  return success();
}

LogicalResult Selector::select(Operation *op) {
  if (auto map = dyn_cast<MapOp>(op))
    if (!cast<RankedTensorType>(map.getOutputs().front().getType()).isDynamicDim(0))
      return map.emitOpError("has no kernel: its results are no rows of tokens");
  return llvm::TypeSwitch<Operation *, LogicalResult>(op)
      .Case<EmbedOp, RmsNormOp, RmsNormBackwardOp, RopeOp, AttentionOp, AttentionBackwardOp,
            CachedAttentionOp, MapOp, SumRowsOp, DropoutOp, MatmulOp, OrthogonalTermOp,
            WeightNormOp, AdaptedLinearOp, AdaptedLinearBackwardOp, CrossEntropyOp,
            CrossEntropyBackwardOp, GradientOp, FusedOp, UseOp, ViewOp, ColumnsOp, ConcatOp>(
          [&](auto typed) {
            selectOp(typed);
            return success();
          })
      .Case([&](SetOp set) { return checkSet(set); })
      .Case([](ReturnOp) { return success(); })
      .Default([](Operation *other) {
        return other->emitOpError("has no kernel: FuseKernels should have taken it in");
      });
}

void Selector::selectOp(UseOp op) {
  if (isa<WeightType>(op.getValue().getType()))
    return;
  auto type = cast<RankedTensorType>(op.getValue().getType());
  buffers[op.getValue()] =
      place(BufferRole::Param, op.getSymbol(), MemRefType::get(type.getShape(), b.getF32Type()));
}

void Selector::selectOp(ViewOp op) { buffers[op.getY()] = in(op.getX()); }

void Selector::selectOp(ColumnsOp op) {
  buffers[op.getY()] = columnsOf(op.getLoc(), in(op.getX()), op.getFrom());
}

void Selector::selectOp(ConcatOp op) {
  assert(concats.contains(op) && "the products that it reads have brought its buffer");
  buffers[op.getY()] = concats[op];
}

void Selector::selectOp(GradientOp op) {} // what forms it writes into the gradient's place

// What gives the value has written it into the parameter's place.
LogicalResult Selector::checkSet(SetOp op) {
  auto type = cast<RankedTensorType>(op.getValue().getType());
  if (in(op.getValue()) !=
      place(BufferRole::Param, op.getSymbol(), MemRefType::get(type.getShape(), b.getF32Type())))
    return op.emitOpError("has no kernel: one parameter is set to what one lora.weight_norm gives");
  return success();
}

// Null where the value is not read by a gradient alone.
Value Selector::gradientPlace(Value value) {
  auto sink = value.hasOneUse() ? dyn_cast<GradientOp>(*value.user_begin()) : GradientOp();
  auto type = cast<RankedTensorType>(value.getType());
  return sink ? place(BufferRole::Grad, sink.getSymbol(),
                      MemRefType::get(type.getShape(), b.getF32Type()))
              : Value();
}

NamedAttribute Selector::integer(StringRef name, int64_t value) {
  return b.getNamedAttr(name, b.getI64IntegerAttr(value));
}

NamedAttribute Selector::number(StringRef name, double value) {
  return b.getNamedAttr(name, b.getF64FloatAttr(value));
}

NamedAttribute Selector::flag(StringRef name, bool value) {
  return b.getNamedAttr(name, b.getBoolAttr(value));
}

NamedAttribute Selector::formatOf(Value w) {
  return b.getNamedAttr("format",
                        b.getStringAttr(toString(cast<WeightType>(w.getType()).getFormat())));
}

LaunchOp Selector::launch(Location loc, KernelKey key, ValueRange operands, int64_t flops,
                          int64_t begin, int64_t count, DenseI64ArrayAttr scalars) {
  if (target.isCuda) {
    key.params.push_back(b.getNamedAttr("elements", b.getStringAttr(elementsOf(operands))));
    key.params.push_back(integer("rows", count));
  }
  return LaunchOp::create(b, loc, kernels.get(key, loc), operands, b.getI64IntegerAttr(begin),
                          b.getI64IntegerAttr(count), scalars, /*fixed=*/UnitAttr(),
                          b.getI64IntegerAttr(flops), /*grid=*/DenseI64ArrayAttr());
}

void Selector::launch(Location loc, const KernelKey &key, ValueRange operands, int64_t flops,
                      DenseI64ArrayAttr scalars) {
  launch(loc, key, operands, flops, 0, isHead ? headRows : maxTokens, scalars);
}

// A buffer that begins as the value `base`: its own where it dies here, a copy otherwise.
Value Selector::onto(Value base, Value result, Location loc) {
  Value buffer = over(base, result, loc, "sum");
  if (buffer != in(base))
    copy(loc, base, buffer);
  return buffer;
}

void Selector::copy(Location loc, Value from, Value to) {
  int64_t n = cols(from), lead = leadingDimension(n);
  launch(loc,
         {"map",
          {integer("cols", n), integer("ins", 1), integer("outs", 1),
           b.getNamedAttr("lds", b.getDenseI64ArrayAttr({lead, lead}))},
          nullptr},
         {in(from), to}, 0);
}
