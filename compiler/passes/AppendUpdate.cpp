// The optimizer's step as programs: @begin zeroes the gradients, @norm writes their norm and the
// clip factor, @update is one launch over all adapters. Before PlanMemory, which places their
// buffers.

#include "compiler/optimizers/Optimizer.h"
#include "compiler/passes/Passes.h"
#include "compiler/passes/RegionPrograms.h"
#include "runtime/abi.h"
#include "runtime/formats/StateLayout.h"

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

void appendBegin(RegionPrograms &programs, OpBuilder &b, Location loc) {
  optimizers::Body zero(b, loc);
  zero.argument("grad");
  zero.yield(zero.number(0));
  programs.open("begin", When::WindowBegin);
  programs.launch(
      {"each",
       {programs.param("what", "zero"), programs.param("regions", 1), programs.param("uniform", 0),
        programs.param("by_group", 0), programs.places("ones", {}), programs.places("writes", {0})},
       &zero.region},
      {programs.spanTable(), programs.region("grads")}, programs.spans());
}

// sqrt(Σ g²), and what torch.nn.utils.clip_grad_norm_ multiplies the gradients by.
void appendNorm(RegionPrograms &programs, OpBuilder &b, Location loc) {
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

  programs.open("norm", When::WindowEnd);
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
    RegionPrograms programs(getOperation(), "optimizer");
    if (programs.floats() == 0)
      return;
    OpBuilder b(&getContext());
    const SmallVector<RegionPrograms::Part> parts = declareStates(programs, *optimizer);
    appendBegin(programs, b, b.getUnknownLoc());
    appendNorm(programs, b, b.getUnknownLoc());

    programs.open("update", When::Update);
    if (device == "cuda") {
      static_assert(sizeof(LoracStep) % 4 == 0);
      programs.io("step", {sizeof(LoracStep) / 4}, /*integers=*/true);
    }
    SmallVector<StringRef> states;
    for (const optimizers::State &state : optimizer->states)
      states.push_back(state.name);
    using optimizers::Host;
    const Host decay = decayByGroup ? Host::weightDecay() : Host(weightDecay);
    optimizers::Update update(b, b.getUnknownLoc(), states, {beta1, beta2, eps, decay});
    optimizer->update(update);
    programs.launch(optimizer->name, update, "update", parts);
  }

  // Their regions, and the launches that they are updated by: where states lie in 8 bits, one over
  // the parameters that are large enough, and one over the others, which keep float32. The regions
  // are the same ones whatever the ranks.
  SmallVector<RegionPrograms::Part> declareStates(RegionPrograms &programs,
                                                  const optimizers::Optimizer &optimizer) {
    const RegionPrograms::Share large = programs.shareFrom(min8bitSize);
    const std::string name = optimizer.name.str();
    RegionPrograms::Part ofLarge{name, 0, large.spans, {}},
        ofOthers{name + "_f32", large.spans, programs.spans() - large.spans, {}};
    for (const optimizers::State &state : optimizer.states) {
      ofLarge.storage.push_back(state.storage);
      ofOthers.storage.push_back(isCode(state.storage) ? Storage::Compact : state.storage);
      auto declare = [&](StringRef suffix, Storage storage, int64_t count) {
        programs.declare(RegionRole::State, (state.name + suffix).str(), count, storage);
      };
      if (!isCode(state.storage)) {
        declare("", state.storage, programs.floats());
        continue;
      }
      declare("", state.storage, large.spans > 0 ? programs.floats() : 0);
      declare(formats::absmaxSuffix, Storage::Absmax, large.blocks);
      declare(formats::compactSuffix, Storage::Compact, programs.floats() - large.floats);
    }
    SmallVector<RegionPrograms::Part> parts;
    if (llvm::any_of(ofLarge.storage, isCode))
      for (const RegionPrograms::Part &part : {ofLarge, ofOthers})
        if (part.spans > 0)
          parts.push_back(part);
    return parts;
  }
};

} // namespace
