// The optimizer's step as programs of a device: @norm writes the gradient's norm and the clipping
// factor, @update is AdamW over all adapters. Before PlanMemory, which places their buffers.

#include "compiler/passes/DevicePrograms.h"
#include "compiler/passes/Passes.h"
#include "runtime/abi.h"

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDUPDATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

constexpr int64_t Span = 4096; // floats that one block of a kernel takes

struct AppendUpdatePass : lorac::lora::impl::AppendUpdateBase<AppendUpdatePass> {
  void runOnOperation() override {
    int64_t count = 0, spans = 0;
    for (ParamOp param : getOperation().getOps<ParamOp>()) {
      int64_t n = cast<RankedTensorType>(param.getType()).getNumElements();
      count += n, spans += (n + Span - 1) / Span;
    }
    if (count == 0)
      return;
    DevicePrograms programs(getOperation(), "optimizer");
    const int64_t scalars = sizeof(LoracUpdate) / 4;

    programs.open("norm");
    const int64_t parts = (count + Span - 1) / Span;
    Value sums = programs.local("sums of squares", parts);
    programs.launch("grad_norm_parts", {programs.region("grads", count), sums}, parts, {count});
    programs.launch("grad_norm", {sums, programs.io("update", {scalars})}, 1, {parts});

    programs.open("update");
    static_assert(sizeof(LoracStep) % 4 == 0);
    programs.io("step", {sizeof(LoracStep) / 4}, /*integers=*/true);
    SmallVector<Value> operands{programs.io("update_spans", {spans, 4}, /*integers=*/true),
                                programs.io("update", {scalars})};
    for (StringRef region : {"params", "grads", "exp_avg", "exp_avg_sq"})
      operands.push_back(programs.region(region, count));
    programs.launch("adamw", operands, spans);
  }
};

} // namespace
