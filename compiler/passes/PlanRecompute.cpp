// What the backward pass computes again instead of keeping. After OrderProducts, when all uses are
// known; before FuseKernels, which would hide the cheap ops in kernels.

#include "compiler/passes/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/SetVector.h"

namespace lorac::lora {
#define GEN_PASS_DEF_PLANRECOMPUTE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

// Bytes of a value at the declared number of tokens, padded as buffers are.
int64_t bytesOf(Value value, int64_t tokens) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type || !type.isDynamicDim(0))
    return 0;
  return tokens * 4 * leadingDimension(columns(type));
}

// FLOPs to compute an op again; -1: never again (its result is the loss, or belongs to the backward
// pass).
int64_t flopsOf(Operation *op, int64_t tokens, int64_t length) {
  if (isa<RmsNormOp, MapOp, DropoutOp, RopeOp, EmbedOp>(op))
    return tokens * 8 * columns(cast<RankedTensorType>(op->getResult(0).getType()));
  if (auto linear = dyn_cast<LinearOp>(op)) {
    auto shape = cast<WeightType>(linear.getWeight().getType()).getShape();
    return 2 * tokens * shape[0] * shape[1];
  }
  if (auto product = dyn_cast<MatmulOp>(op); product && product.getKind() == ProductKind::NT)
    return 2 * tokens * cast<RankedTensorType>(product.getC().getType()).getDimSize(1) *
           cast<RankedTensorType>(product.getA().getType()).getDimSize(1);
  if (auto attention = dyn_cast<AttentionOp>(op))
    return 2 * tokens * length * columns(cast<RankedTensorType>(attention.getO().getType()));
  return -1;
}

// No kernel: another name for what lies in memory already.
bool isName(Operation *op) { return isa<ViewOp, ColumnsOp, UseOp>(op); }

// Cheap enough to be computed again whatever the budget.
bool isCheap(Operation *op) { return isa<RmsNormOp, MapOp, DropoutOp>(op); }

struct PlanRecomputePass : lorac::lora::impl::PlanRecomputeBase<PlanRecomputePass> {
  using Base::Base;
  int64_t tokens = 1024, length = 256;

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto train = module.lookupSymbol<func::FuncOp>("train");
    if (!train)
      return;
    if (auto limit = module->getAttrOfType<IntegerAttr>("lora.max_tokens"))
      tokens = limit.getInt();
    if (auto limit = module->getAttrOfType<IntegerAttr>("lora.max_length"))
      length = limit.getInt();
    int64_t budget = memory;
    if (auto limit = module->getAttrOfType<IntegerAttr>("lora.activation_memory");
        limit && budget == 0)
      budget = limit.getInt();

    auto seeds = train.getOps<CrossEntropyBackwardOp>();
    if (seeds.empty())
      return;
    Operation *border = *seeds.begin();
    llvm::SetVector<Operation *> again;
    int64_t kept = keptInAll(train, border, again);
    for (Operation &op : train.front()) {
      if (!op.isBeforeInBlock(border) || !isCheap(&op))
        continue;
      again.insert(&op);
      int64_t keptNow = keptInAll(train, border, again);
      if (keptNow < kept)
        kept = keptNow;
      else
        again.pop_back(); // its operands would have to be kept instead
    }
    if (budget > 0)
      fitBudget(train, border, budget, again);
    // Consumers before producers: a clone is one more user of what it reads. Views go along.
    SmallVector<Operation *> order(again.getArrayRef());
    for (Operation &op : train.front())
      if (op.isBeforeInBlock(border) && isa<ViewOp, ColumnsOp>(op))
        order.push_back(&op);
    llvm::sort(order, [](Operation *x, Operation *y) { return y->isBeforeInBlock(x); });
    for (Operation *op : order)
      repeat(op, border);
  }

  // Everything that is kept across the border if `again` is computed again.
  int64_t keptInAll(func::FuncOp train, Operation *border,
                    const llvm::SetVector<Operation *> &again) {
    llvm::SetVector<Value> kept;
    std::function<void(Value)> need = [&](Value value) {
      Operation *def = value.getDefiningOp();
      if (!def || !def->isBeforeInBlock(border))
        return;
      if (again.contains(def) || isName(def))
        llvm::for_each(def->getOperands(), need);
      else
        kept.insert(value);
    };
    for (Operation &op : train.front())
      if (border->isBeforeInBlock(&op))
        llvm::for_each(op.getOperands(), need);
    int64_t bytes = 0;
    for (Value value : kept)
      bytes += bytesOf(value, tokens);
    return bytes;
  }

  // The cheapest FLOP a saved byte first, until the kept values fit.
  void fitBudget(func::FuncOp train, Operation *border, int64_t budget,
                 llvm::SetVector<Operation *> &again) {
    int64_t kept = keptInAll(train, border, again);
    while (kept > budget) {
      Operation *best = nullptr;
      double bestPrice = 0;
      for (Operation &op : train.front()) {
        if (!op.isBeforeInBlock(border) || again.contains(&op) || flopsOf(&op, tokens, length) < 0)
          continue;
        again.insert(&op);
        int64_t saved = kept - keptInAll(train, border, again);
        again.pop_back();
        double price = saved > 0 ? double(flopsOf(&op, tokens, length)) / double(saved) : 0;
        if (saved > 0 && (!best || price < bestPrice))
          best = &op, bestPrice = price;
      }
      if (!best)
        return; // PlanMemory's peak says by how much it does not fit
      again.insert(best);
      kept = keptInAll(train, border, again);
    }
  }

  // Clones the op in front of the first of its users after the border; users that are clones
  // themselves come first.
  void repeat(Operation *op, Operation *border) {
    Operation *first = nullptr;
    for (Value result : op->getResults())
      for (Operation *user : result.getUsers())
        if (border->isBeforeInBlock(user) && (!first || user->isBeforeInBlock(first)))
          first = user;
    if (!first)
      return;
    OpBuilder b(first);
    Operation *clone = b.clone(*op);
    if (!isName(op))
      clone->setAttr("recompute", b.getUnitAttr());
    for (auto [from, to] : llvm::zip(op->getResults(), clone->getResults()))
      from.replaceUsesWithIf(
          to, [&](OpOperand &use) { return clone->isBeforeInBlock(use.getOwner()); });
  }
};

} // namespace
