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
  int64_t chooseRows(ModuleOp module, int64_t tokens) const {
    if (auto chosen = module->getAttrOfType<IntegerAttr>("lora.head_rows"))
      return std::min(chosen.getInt(), tokens);
    int64_t vocab = 1;
    module.walk([&](CrossEntropyBackwardOp op) {
      vocab = std::max(vocab, cast<WeightType>(op.getWeight().getType()).getShape()[0]);
    });
    return chooseHeadRows(vocab, tokens, device == "cuda");
  }

  void runOnOperation() override {
    ModuleOp module = getOperation();
    auto tokens = module->getAttrOfType<IntegerAttr>("lora.max_tokens"),
         length = module->getAttrOfType<IntegerAttr>("lora.max_length");
    if (!tokens || !length) {
      module.emitError("needs the attributes 'lora.max_tokens' and 'lora.max_length'");
      return signalPassFailure();
    }
    if (headRows == 0)
      headRows = chooseRows(module, tokens.getInt());
    headRows = std::min<int64_t>(headRows, tokens.getInt());
    Builder b(module.getContext());
    TargetChoices target{b.getF32Type()};
    target.rankPerKernel = rankPerKernel;
    if (device == "cuda") {
      target.isCuda = true;
      target.activation = compute == "f16" ? Type(b.getF16Type()) : Type(b.getBF16Type());
    }
    KernelTable kernels(module);
    for (auto func : module.getOps<func::FuncOp>())
      if (failed(Selector(func, kernels, target, tokens.getInt(), length.getInt(), headRows).run()))
        return signalPassFailure();
    module->setAttr("lora.head_rows",
                    IntegerAttr::get(IntegerType::get(&getContext(), 64), headRows));
  }
};

} // namespace
