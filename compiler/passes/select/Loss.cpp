// Cross entropy in chunks of rows.

#include "compiler/dialect/ScalarGradient.h"
#include "compiler/passes/select/Selector.h"

using namespace mlir;
using namespace lorac::lora;

void Selector::selectOp(CrossEntropyOp op) {
  Value losses = fresh(op.getRowLoss(), op.getLoc(), "row_loss");
  selectLoss(op, losses, Value());
  buffers[op.getRowLoss()] = losses;
}

void Selector::selectOp(CrossEntropyBackwardOp op) {
  Value losses = fresh(op.getRowLoss(), op.getLoc(), "row_loss"),
        dh = fresh(op.getDh(), op.getLoc(), "dh");
  selectLoss(op, losses, dh);
  buffers[op.getRowLoss()] = losses, buffers[op.getDh()] = dh;
}

// Head, cross entropy and the head's dX for one chunk of rows after another: logits never exist
// as a whole.
template <typename Op>
void Selector::selectLoss(Op op, Value losses, Value dh) {
  Location loc = op.getLoc();
  Value h = op.getH(), w = op.getWeight(), labels = op.getLabels();
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
  KernelKey forward{"linear_forward",
                    linearParams(w, Value(),
                                 {integer("ldx", ld(h)), integer("ldy", ldl), number("scale", 1.0),
                                  integer("ldr", 0), flag("residual", false)})};
  KernelKey entropy{"cross_entropy",
                    {integer("vocab", vocab), integer("ld", ldl), flag("backward", bool(dh))}};
  if constexpr (std::is_same_v<Op, CrossEntropyBackwardOp>)
    if (op.getSmoothing())
      entropy.params.push_back(number("smoothing", op.getSmoothing()->convertToDouble()));
  Region logit; // of a product: the logit, and its derivative
  if (!op.getBody().empty()) {
    Block &both = logit.emplaceBlock();
    Value product = both.addArgument(b.getF32Type(), loc);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(&both);
    withDerivative(b, loc, op.getBody().front(), product);
    entropy.body = &logit;
    if (dh)
      entropy.params.push_back(flag("derivative", true));
  }
  KernelKey backward{"linear_backward", linearBackwardParams(w, Value(), ldl, ld(h), false)};
  for (int64_t begin = 0; begin < maxTokens; begin += rows) {
    int64_t count = std::min(rows, maxTokens - begin), flops = 2 * count * vocab * shape[1];
    launch(loc, forward, {slice(loc, in(h), begin, count), weight(w), logits}, flops, begin, count);
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
