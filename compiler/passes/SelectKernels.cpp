// 40-fused -> 50-planned: ops become launches over buffers. The first pass that knows how
// activations lie in memory.

#include "compiler/passes/Passes.h"
#include "compiler/passes/select/HeadRows.h"
#include "compiler/passes/select/Selector.h"

namespace lorac::lora {
#define GEN_PASS_DEF_SELECTKERNELS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct SelectKernelsPass : lorac::lora::impl::SelectKernelsBase<SelectKernelsPass> {
  using Base::Base;

  // PlanRecompute's choice where it made one.
  int64_t chooseRows(ModuleOp module, LimitsOp limits) const {
    const int64_t tokens = limits.getTokens();
    if (auto chosen = limits.getHeadRows())
      return std::min(int64_t(*chosen), tokens);
    int64_t vocab = 1;
    module.walk([&](CrossEntropyBackwardOp op) {
      vocab = std::max(vocab, cast<WeightType>(op.getWeight().getType()).getShape()[0]);
    });
    return chooseHeadRows(vocab, tokens, device == "cuda");
  }

  // One region for the keys and values of all attentions, if they have a cache.
  static LogicalResult declareCache(ModuleOp module, int64_t sequences, int64_t length,
                                    bool isCuda) {
    int64_t floats = 0;
    WalkResult all = module.walk([&](CachedAttentionOp op) {
      if (isCuda || sequences == 0) {
        op.emitOpError(isCuda ? "has no kernel on cuda"
                              : "needs the 'sequences' of lora.limits, which have the cache");
        return WalkResult::interrupt();
      }
      const CachePlan plan(op, sequences, length);
      floats += plan.keys + plan.values;
      return WalkResult::advance();
    });
    if (all.wasInterrupted() || floats == 0)
      return failure(all.wasInterrupted());
    auto first = OpBuilder::atBlockBegin(module.getBody());
    RegionOp::create(first, module.getLoc(), "kv_cache", RegionRole::KvCache, Storage::Floats,
                     floats, -1);
    return success();
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto limits = findOnly<LimitsOp>(module);
    if (!limits) {
      module.emitError("needs a lora.limits, which says how many tokens a micro-batch has");
      return signalPassFailure();
    }
    const int64_t tokens = limits.getTokens(), length = limits.getLength();
    if (headRows == 0)
      headRows = chooseRows(module, limits);
    headRows = std::min<int64_t>(headRows, tokens);
    Builder b(module.getContext());
    TargetChoices target{b.getF32Type()};
    target.rankPerKernel = rankPerKernel;
    if (device == "cuda") {
      target.isCuda = true;
      target.activation = compute == "f16" ? Type(b.getF16Type()) : Type(b.getBF16Type());
    }
    target.sequences = limits.getSequences().value_or(0);
    if (failed(declareCache(module, target.sequences, length, target.isCuda)))
      return signalPassFailure();
    KernelTable kernels(module);
    for (auto program : module.getOps<ProgramOp>())
      if (failed(Selector(program, kernels, target, tokens, length, headRows).run()))
        return signalPassFailure();
    limits.setHeadRows(headRows);
  }
};

} // namespace
