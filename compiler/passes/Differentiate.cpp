// 20-adapted -> 30-backward. Reverse mode over the ops' own gradients (LoraInterfaces.td), before
// any fusion.

#include "compiler/passes/Passes.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringSet.h"

namespace lorac::lora {
#define GEN_PASS_DEF_DIFFERENTIATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct DifferentiatePass : lorac::lora::impl::DifferentiateBase<DifferentiatePass> {
  using Base::Base;
  llvm::DenseMap<Value, Value> gradient;
  llvm::DenseSet<Value> reached; // depends on a trainable

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto hidden = module.lookupSymbol<ProgramOp>("hidden");
    auto loss = module.lookupSymbol<ProgramOp>("loss");
    if (!hidden || !loss) {
      module.emitError("needs the programs @hidden and @loss");
      return signalPassFailure();
    }
    if (hidden.getResultTypes().size() != 1 || loss.getArgumentTypes().size() != 2 ||
        loss.getOps<CrossEntropyOp>().empty() ||
        !(*loss.getOps<CrossEntropyOp>().begin()).getWeight().getDefiningOp<UseOp>()) {
      loss.emitOpError("is no cross entropy of @hidden's result and labels under a lora.use");
      return signalPassFailure();
    }
    ProgramOp train = copyForward(hidden, loss);
    if (failed(walkBack(train)) || failed(checkAllReached(module, train)))
      signalPassFailure();
  }

  // @train(ids, positions, segments, labels) -> row losses: the body of @hidden, then the loss with
  // its gradient by h.
  ProgramOp copyForward(ProgramOp hidden, ProgramOp loss) {
    gradient.clear(), reached.clear();
    OpBuilder b(hidden);
    b.setInsertionPointAfter(loss);
    SmallVector<Type> inputs(hidden.getArgumentTypes());
    inputs.push_back(loss.getArgument(1).getType());
    auto train = ProgramOp::create(b, hidden.getLoc(), When::MicroBatch, "train",
                                   b.getFunctionType(inputs, loss.getResultTypes()));
    Block *block = train.addEntryBlock();
    IRMapping copy;
    for (auto [from, to] : llvm::zip(hidden.getArguments(), block->getArguments())) {
      copy.map(from, to);
      to.setLoc(from.getLoc());
    }
    block->getArguments().back().setLoc(loss.getArgument(1).getLoc());
    b.setInsertionPointToStart(block);
    for (Operation &op : hidden.front().without_terminator())
      b.clone(op, copy);
    Value h = copy.lookup(hidden.front().getTerminator()->getOperand(0));

    auto entropy = *loss.getOps<CrossEntropyOp>().begin();
    auto use = cast<UseOp>(b.clone(*entropy.getWeight().getDefiningOp()));
    auto seed = CrossEntropyBackwardOp::create(
        b, entropy.getLoc(), TypeRange{entropy.getRowLoss().getType(), h.getType()}, h,
        use.getValue(), block->getArguments().back(),
        labelSmoothing != 0 ? b.getF64FloatAttr(labelSmoothing) : FloatAttr());
    if (!entropy.getBody().empty()) {
      IRMapping body;
      entropy.getBody().cloneInto(&seed.getBody(), body);
    }
    ReturnOp::create(b, train.getLoc(), seed.getRowLoss());
    gradient[h] = seed.getDh();
    return train;
  }

  void markReached(ProgramOp train) {
    for (Operation &op : train.front()) {
      bool from = llvm::any_of(op.getOperands(), [&](Value v) { return reached.contains(v); });
      if (auto use = dyn_cast<UseOp>(op))
        from = isa<RankedTensorType>(use.getValue().getType());
      if (isa<WeightNormOp>(op)) // a constant of the backward pass
        from = false;
      if (from)
        reached.insert(op.result_begin(), op.result_end());
    }
  }

  LogicalResult walkBack(ProgramOp train) {
    markReached(train);
    OpBuilder b(train.front().getTerminator());
    SmallVector<Operation *> forward;
    for (Operation &op : train.front().without_terminator())
      forward.push_back(&op);
    for (Operation *op : llvm::reverse(forward)) {
      SmallVector<Value> incoming;
      for (Value result : op->getResults())
        incoming.push_back(gradient.lookup(result));
      if (llvm::none_of(incoming, [](Value v) { return bool(v); }))
        continue;
      if (auto use = dyn_cast<UseOp>(op)) {
        if (reached.contains(use.getValue()))
          GradientOp::create(b, op->getLoc(), use.getSymbolAttr(), incoming[0]);
        continue;
      }
      SmallVector<bool> wanted;
      for (Value operand : op->getOperands())
        wanted.push_back(reached.contains(operand));
      if (llvm::none_of(wanted, [](bool w) { return w; }))
        continue;
      auto differentiable = dyn_cast<DifferentiableOp>(op);
      if (!differentiable)
        return op->emitOpError("lies between a trainable and the loss and has no gradient");
      SmallVector<Value> outgoing = differentiable.backward(b, incoming, wanted);
      if (outgoing.empty()) // it has said why it has no gradient
        return failure();
      for (auto [operand, value] : llvm::zip(op->getOperands(), outgoing))
        if (value)
          accumulate(b, op->getLoc(), operand, value);
    }
    return success();
  }

  void accumulate(OpBuilder &b, Location loc, Value of, Value value) {
    Value &sum = gradient[of];
    sum = sum ? MapOp::sum(b, loc, sum, value) : value;
  }

  LogicalResult checkAllReached(ModuleOp module, ProgramOp train) {
    llvm::StringSet<> have;
    train.walk([&](GradientOp op) { have.insert(op.getSymbol()); });
    for (ParamOp param : module.getOps<ParamOp>())
      if (!have.contains(param.getSymName()) && !param.is(ParamRole::LoraE))
        return param.emitOpError("gets no gradient: the loss does not depend on it");
    return success();
  }
};

} // namespace
