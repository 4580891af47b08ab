// Elementwise chains become one map. Runs before Differentiate, so that a chain has one gradient,
// and again after recomputation. Sums stay apart: FuseKernels takes them into products.

#include "compiler/passes/Passes.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace lorac::lora {
#define GEN_PASS_DEF_FUSEELEMENTWISE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

// A map whose result only another map reads becomes part of it.
struct FuseMaps : OpRewritePattern<MapOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(MapOp op, PatternRewriter &rewriter) const override {
    for (auto [at, input] : llvm::enumerate(op.getInputs())) {
      auto inner = input.getDefiningOp<MapOp>();
      if (!inner || inner.getOutputs().size() != 1 || !input.hasOneUse() || inner.isSum() ||
          op.isSum())
        continue;
      merge(inner, op, at, rewriter);
      return success();
    }
    return rewriter.notifyMatchFailure(op, "no input is a map of its own");
  }

  static void merge(MapOp inner, MapOp outer, unsigned at, PatternRewriter &rewriter) {
    SmallVector<Value> inputs(inner.getInputs());
    for (auto [i, input] : llvm::enumerate(outer.getInputs()))
      if (i != at)
        inputs.push_back(input);
    auto merged = MapOp::create(rewriter, outer.getLoc(), outer.getResultTypes(), inputs);
    Block *block = rewriter.createBlock(&merged.getBody(), {},
                                        SmallVector<Type>(inputs.size(), rewriter.getF32Type()),
                                        SmallVector<Location>(inputs.size(), outer.getLoc()));
    unsigned innerCount = inner.getInputs().size();
    IRMapping copy;
    Block &first = inner.getBody().front(), &second = outer.getBody().front();
    copy.map(first.getArguments(), block->getArguments().take_front(innerCount));
    for (Operation &op : first.without_terminator())
      rewriter.clone(op, copy);
    copy.map(second.getArgument(at), copy.lookup(first.getTerminator()->getOperand(0)));
    for (unsigned i = 0, next = innerCount; i < second.getNumArguments(); ++i)
      if (i != at)
        copy.map(second.getArgument(i), block->getArgument(next++));
    for (Operation &op : second)
      rewriter.clone(op, copy);
    rewriter.setInsertionPointAfter(merged);
    rewriter.replaceOp(outer, merged.getOutputs());
    rewriter.eraseOp(inner);
  }
};

struct FuseElementwisePass : lorac::lora::impl::FuseElementwiseBase<FuseElementwisePass> {
  void runOnOperation() override {
    RewritePatternSet patterns(&getContext());
    patterns.add<FuseMaps>(&getContext());
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      signalPassFailure();
  }
};

} // namespace
