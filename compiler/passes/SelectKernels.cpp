// 40-fused -> 50-planned: ops become launches over buffers. The first pass that knows how
// activations lie in memory.

#include "compiler/passes/Passes.h"
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

  // What a chunk costs beside its products is a pass over the head's weight.
  int64_t chooseHeadRows(ModuleOp module) const {
    constexpr int64_t step = 128, mostRows = 1024, mostBytes = int64_t(256) << 20;
    int64_t vocab = 1;
    module.walk([&](CrossEntropyBackwardOp op) {
      vocab = std::max(vocab, cast<WeightType>(op.getWeight().getType()).getShape()[0]);
    });
    if (device != "cuda")
      return step;
    return std::clamp(mostBytes / (4 * vocab) / step * step, step, mostRows);
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
      headRows = chooseHeadRows(module);
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
