// The optimizer's step as programs: @norm writes the gradient's norm and the clip factor, @update
// is one launch over all adapters. Before PlanMemory, which places their buffers.

#include "compiler/optimizers/Optimizer.h"
#include "compiler/passes/DevicePrograms.h"
#include "compiler/passes/Passes.h"
#include "runtime/abi.h"

#include <cstddef>

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDUPDATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

#define PLACE(field) int64_t(offsetof(LoracNorm, field) / sizeof(float))

namespace {

// sqrt(Σ g²), and what torch.nn.utils.clip_grad_norm_ multiplies the gradients by.
void appendNorm(DevicePrograms &programs, OpBuilder &b, Location loc) {
  using optimizers::Element;
  optimizers::Body square(b, loc);
  Element g = widened(square.argument("grad"));
  square.yield(g * g);

  optimizers::Body clipping(b, loc);
  Element total = clipping.argument("total", b.getF64Type());
  Element most = clipping.argument("max_norm"), scale = clipping.argument("gradient_scale");
  Element zero = clipping.number(0), one = clipping.number(1), tiny = clipping.number(1e-6);
  Element norm = narrowed(sqrt(total)) * scale;
  Element clipped = min(most / (norm + tiny), one);
  clipping.yield({norm, select(zero < most, clipped, one) * scale});

  programs.open("norm");
  Value sums = programs.local("sums of squares", programs.spans(), b.getF64Type());
  programs.launch({"sum_spans",
                   {programs.param("what", "squares"), programs.param("regions", 1)},
                   &square.region},
                  {programs.spanTable(), programs.region("grads"), sums}, programs.spans());
  Value memory = programs.norm();
  programs.launch({"sum_whole",
                   {programs.param("what", "norm"),
                    programs.places("ones", {PLACE(max_norm), PLACE(gradient_scale)}),
                    programs.places("writes", {PLACE(norm), PLACE(clip)})},
                   &clipping.region},
                  {sums, memory, memory, memory}, programs.spans());
}

struct AppendUpdatePass : lorac::lora::impl::AppendUpdateBase<AppendUpdatePass> {
  using Base::Base;

  void runOnOperation() override {
    const optimizers::Optimizer *optimizer = optimizers::findOptimizer(this->optimizer);
    if (!optimizer) {
      getOperation().emitError("no optimizer is named '") << this->optimizer << "'";
      return signalPassFailure();
    }
    DevicePrograms programs(getOperation(), "optimizer");
    if (programs.floats() == 0)
      return;
    OpBuilder b(&getContext());
    for (StringRef state : optimizer->states)
      programs.declare(RegionRole::State, state, programs.floats());
    appendNorm(programs, b, getOperation().getLoc());

    programs.open("update");
    if (device == "cuda") {
      static_assert(sizeof(LoracStep) % 4 == 0);
      programs.io("step", {sizeof(LoracStep) / 4}, /*integers=*/true);
    }
    optimizers::Update update(b, getOperation().getLoc(), optimizer->states,
                              {beta1, beta2, eps, weightDecay});
    optimizer->update(update);
    programs.launch(optimizer->name, update, "update");
  }
};

} // namespace
