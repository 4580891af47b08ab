// The optimizer's step as programs: @norm writes the gradient's norm and the clip factor, @update
// is one launch over all adapters. Before PlanMemory, which places their buffers.

#include "compiler/optimizers/Optimizer.h"
#include "compiler/passes/DevicePrograms.h"
#include "compiler/passes/Passes.h"
#include "runtime/abi.h"

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDUPDATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

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
    if (device == "cuda") {
      programs.open("norm");
      const int64_t parts = (programs.floats() + 4095) / 4096;
      Value sums = programs.local("sums of squares", parts, b.getF32Type());
      programs.launch("grad_norm_parts", {programs.region("grads"), sums}, parts,
                      {programs.floats()});
      programs.launch("grad_norm", {sums, programs.norm()}, 1, {parts});
    }

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
