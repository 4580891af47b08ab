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
    KernelTable kernels(module);
    for (auto program : module.getOps<ProgramOp>())
      if (failed(Selector(program, kernels, target, tokens, length, headRows).run()))
        return signalPassFailure();
    limits.setHeadRows(headRows);
  }
};

} // namespace
