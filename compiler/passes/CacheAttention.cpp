// 20-adapted -> 30-cached: for text, where nothing is differentiated. Attention goes over a cache,
// so that a run takes new tokens alone.

#include "compiler/passes/Passes.h"
#include "mlir/IR/Builders.h"

namespace lorac::lora {
#define GEN_PASS_DEF_CACHEATTENTION
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct CacheAttentionPass : lorac::lora::impl::CacheAttentionBase<CacheAttentionPass> {
  void runOnOperation() override {
    for (auto program : getOperation().getOps<ProgramOp>()) {
      int64_t cache = 0;
      for (AttentionOp op : llvm::make_early_inc_range(program.getOps<AttentionOp>()))
        if (failed(replace(program, op, cache++)))
          return signalPassFailure();
    }
  }

  static LogicalResult replace(ProgramOp program, AttentionOp op, int64_t cache) {
    // @hidden(ids, positions, segments)
    if (program.getNumArguments() != 3 || op.getSegments() != program.getArgument(2))
      return op.emitOpError("is in no program of ids, positions and segments");
    if (!op.getLse().use_empty())
      return op.emitOpError("has an lse that is read: a cache is for programs without gradients");
    OpBuilder b(op);
    Value o = CachedAttentionOp::create(b, op.getLoc(), op.getO().getType(), op.getQ(), op.getK(),
                                        op.getV(), op.getSegments(), program.getArgument(1),
                                        b.getI64IntegerAttr(cache), op.getScaleAttr(),
                                        op.getWindowAttr(), op.getSoftcapAttr());
    op.getO().replaceAllUsesWith(o);
    op.erase();
    return success();
  }
};

} // namespace
