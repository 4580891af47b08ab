// 35-ordered -> 40-fused. A product over a frozen weight takes in its low-rank panel and the value
// that it is added to. PlanRecompute, which follows, knows how a target lays values out.

#include "compiler/passes/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace lorac::lora {
#define GEN_PASS_DEF_FUSEKERNELS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

bool isSum(Value value) {
  auto map = value.getDefiningOp<MapOp>();
  return map && map.isSum();
}

// The terms of a tree of sums whose inner sums nobody else reads, from left to right.
void termsOf(Value value, bool root, SmallVectorImpl<Value> &terms) {
  if (isSum(value) && (root || value.hasOneUse())) {
    for (Value operand : value.getDefiningOp()->getOperands())
      termsOf(operand, false, terms);
    return;
  }
  terms.push_back(value);
}

template <typename Op>
Op only(Value value) {
  return value.hasOneUse() ? value.getDefiningOp<Op>() : Op();
}

// A sum of base products, low-rank products and other values: the others first, then one fused op
// after another, each onto the value so far, so that every element stays one chain.
struct FuseSum : OpRewritePattern<MapOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MapOp op, PatternRewriter &rewriter) const override {
    if (!op.isSum())
      return rewriter.notifyMatchFailure(op, "not a sum");
    Value root = op.getOutputs().front();
    if (root.hasOneUse())
      if (auto outer = dyn_cast<MapOp>(*root.user_begin()); outer && outer.isSum())
        return rewriter.notifyMatchFailure(op, "part of a larger sum");
    SmallVector<Value> terms, others;
    termsOf(root, true, terms);
    SmallVector<Operation *> bases; // LinearOp, LinearBackwardOp, RmsNormBackwardOp
    SmallVector<MatmulOp> panels;
    for (Value term : terms) {
      if (Operation *base = baseOf(term))
        bases.push_back(base);
      else if (MatmulOp panel = only<MatmulOp>(term); panel && panel.getKind() != ProductKind::TN)
        panels.push_back(panel);
      else
        others.push_back(term);
    }
    if (bases.empty())
      return rewriter.notifyMatchFailure(op, "no product over a frozen weight among the terms");

    Value sum;
    for (Value other : others)
      sum = sum ? MapOp::sum(rewriter, op.getLoc(), sum, other) : other;
    for (Operation *base : bases)
      sum = fuse(rewriter, base, takePanel(base, panels), sum);
    for (MatmulOp panel : panels)
      sum = MapOp::sum(rewriter, op.getLoc(), sum, panel.getC());
    rewriter.replaceOp(op, sum);
    return success();
  }

  static Operation *baseOf(Value term) {
    if (auto linear = only<LinearOp>(term))
      return linear;
    if (auto backward = only<LinearBackwardOp>(term))
      return backward;
    if (auto norm = only<RmsNormBackwardOp>(term); norm && !norm.getOnto())
      return norm;
    return nullptr;
  }

  static UseOp symbolOf(Value operand) { return operand.getDefiningOp<UseOp>(); }

  // Whether the panel's factor belongs to the adapter of the base's weight.
  static bool isOfAdapter(Operation *base, MatmulOp panel) {
    UseOp weight = symbolOf(base->getOperand(1)), factor = symbolOf(panel.getB());
    if (!weight || !factor)
      return false;
    auto param = SymbolTable::lookupNearestSymbolFrom<ParamOp>(base, factor.getSymbolAttr());
    if (!param || !param.getAdapter())
      return false;
    auto adapter = SymbolTable::lookupNearestSymbolFrom<AdapterOp>(base, param.getAdapterAttr());
    return adapter && adapter.getWeightAttr() == weight.getSymbolAttr();
  }

  // The low-rank product of the same adapter, if it is among the terms.
  static MatmulOp takePanel(Operation *base, SmallVectorImpl<MatmulOp> &panels) {
    auto fits = [&](MatmulOp panel) {
      if (isa<LinearOp>(base))
        return panel.getKind() == ProductKind::NT;
      return isa<LinearBackwardOp>(base) && panel.getKind() == ProductKind::NN &&
             panel.getScale().isExactlyValue(1.0);
    };
    MatmulOp *found = llvm::find_if(
        panels, [&](MatmulOp panel) { return fits(panel) && isOfAdapter(base, panel); });
    if (found == panels.end() && panels.size() == 1 && fits(panels.front()))
      found = panels.begin();
    if (found == panels.end())
      return {};
    MatmulOp panel = *found;
    panels.erase(found);
    return panel;
  }

  static Value fuse(PatternRewriter &rewriter, Operation *base, MatmulOp panel, Value onto) {
    Value t = panel ? panel.getA() : Value(), factor = panel ? panel.getB() : Value();
    if (auto linear = dyn_cast<LinearOp>(base))
      return AdaptedLinearOp::create(rewriter, base->getLoc(), linear.getY().getType(),
                                     linear.getX(), linear.getWeight(), t, factor, onto,
                                     panel ? panel.getScaleAttr() : rewriter.getF64FloatAttr(1.0));
    if (auto backward = dyn_cast<LinearBackwardOp>(base))
      return AdaptedLinearBackwardOp::create(rewriter, base->getLoc(), backward.getDx().getType(),
                                             backward.getDy(), backward.getWeight(), t, factor,
                                             onto);
    auto norm = cast<RmsNormBackwardOp>(base);
    return RmsNormBackwardOp::create(rewriter, base->getLoc(), norm.getDx().getType(), norm.getX(),
                                     norm.getWeight(), norm.getDy(), onto, norm.getEpsAttr());
  }
};

// Linears that stand alone.
struct FuseLinear : OpRewritePattern<LinearOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LinearOp op, PatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<AdaptedLinearOp>(op, op.getY().getType(), op.getX(), op.getWeight(),
                                                 Value(), Value(), Value(),
                                                 rewriter.getF64FloatAttr(1.0));
    return success();
  }
};
struct FuseLinearBackward : OpRewritePattern<LinearBackwardOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(LinearBackwardOp op, PatternRewriter &rewriter) const override {
    rewriter.replaceOpWithNewOp<AdaptedLinearBackwardOp>(op, op.getDx().getType(), op.getDy(),
                                                         op.getWeight(), Value(), Value(), Value());
    return success();
  }
};

struct FuseKernelsPass : lorac::lora::impl::FuseKernelsBase<FuseKernelsPass> {
  void runOnOperation() override {
    for (auto stage : {0, 1}) { // sums while the products stand alone, then the rest
      RewritePatternSet patterns(&getContext());
      if (stage == 0)
        patterns.add<FuseSum>(&getContext());
      else
        patterns.add<FuseLinear, FuseLinearBackward>(&getContext());
      if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
        return signalPassFailure();
    }
  }
};

} // namespace
