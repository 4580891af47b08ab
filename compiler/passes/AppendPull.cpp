// L2-SP (Li et al. 2018) as the program @pull: the loss gets weight/2 · Σ (p - start)², over all
// parameters, which `start` holds as they were when the run began. Before PlanMemory, which places
// the buffers.

#include "compiler/passes/Passes.h"
#include "compiler/passes/RegionPrograms.h"
#include "runtime/abi.h"
#include "runtime/formats/StateLayout.h"

#include <cstddef>

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDPULL
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

struct AppendPullPass : lorac::lora::impl::AppendPullBase<AppendPullPass> {
  using Base::Base;

  void runOnOperation() override {
    RegionPrograms programs(getOperation(), "l2_sp");
    if (weight == 0 || programs.floats() == 0)
      return;
    programs.declare(RegionRole::State, formats::startRegion, programs.floats());
    programs.open("pull", When::WindowEnd);
    OpBuilder b(&getContext());
    addSum(programs, b);
    addGradient(programs, b);
  }

private:
  // ½·Σ (p - start)², before its weight.
  void addSum(RegionPrograms &programs, OpBuilder &b) {
    using optimizers::Element;
    optimizers::Body square(b, b.getUnknownLoc());
    Element p = square.argument("param"), start = square.argument("start");
    Element now = widened(p), off = now - widened(start);
    square.yield(off * off);
    optimizers::Body half(b, b.getUnknownLoc());
    Element total = half.argument("total", b.getF64Type());
    half.yield(narrowed(total) * half.number(0.5));

    Value sums = programs.local("sums of squares", programs.spans(), b.getF64Type());
    programs.launch({"sum_spans",
                     {programs.param("what", "distances"), programs.param("regions", 2)},
                     &square.region},
                    {programs.spanTable(), programs.region("params"),
                     programs.region(formats::startRegion), sums},
                    programs.spans());
    programs.launch({"sum_whole",
                     {programs.param("what", "half"), programs.places("ones", {}),
                      programs.places("writes", {0})},
                     &half.region},
                    {sums, programs.io("pull", {1})}, programs.spans());
  }

  // Gradients are raised as those that it is added to: gradient_scale takes that out again.
  void addGradient(RegionPrograms &programs, OpBuilder &b) {
    using optimizers::Element;
    optimizers::Body pull(b, b.getUnknownLoc());
    Element g = pull.argument("grad"), p = pull.argument("param"), start = pull.argument("start"),
            scale = pull.argument("gradient_scale");
    Element pulled = pull.number(weight) * (p - start);
    pull.yield(g + pulled / scale);
    programs.launch(
        {"each",
         {programs.param("what", "pull"), programs.param("regions", 3),
          programs.param("uniform", 0), programs.param("by_group", 0),
          programs.places("ones", {offsetof(LoracNorm, gradient_scale) / sizeof(float)}),
          programs.places("writes", {0})},
         &pull.region},
        {programs.spanTable(), programs.norm(), programs.region("grads"), programs.region("params"),
         programs.region(formats::startRegion)},
        programs.spans());
  }
};

} // namespace
