// The optimizer's step as programs: @update is one launch over all adapters; on a device @norm
// writes the gradient's norm and the clip factor where it reads them. Before PlanMemory, which
// places their buffers.

#include "compiler/optimizers/Optimizer.h"
#include "compiler/passes/DevicePrograms.h"
#include "compiler/passes/Passes.h"
#include "runtime/abi.h"

#include <cstddef>
#include <set>

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDUPDATE
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

constexpr int64_t Span = 4096; // floats that one tile or block takes
constexpr int64_t Head = sizeof(LoracNorm) / 4, Clip = offsetof(LoracNorm, clip) / 4;
static_assert(Clip + 1 == Head, "the clip factor is the first scalar of the update");

struct AppendUpdatePass : lorac::lora::impl::AppendUpdateBase<AppendUpdatePass> {
  using Base::Base;

  void runOnOperation() override {
    const optimizers::Optimizer *optimizer = optimizers::findOptimizer(this->optimizer);
    if (!optimizer) {
      getOperation().emitError("no optimizer is named '") << this->optimizer << "'";
      return signalPassFailure();
    }
    int64_t count = 0, spans = 0;
    std::set<std::optional<ParamRole>> groups;
    for (ParamOp param : getOperation().getOps<ParamOp>()) {
      count += param.count(), spans += (param.count() + Span - 1) / Span;
      groups.insert(param.getRole());
    }
    if (count == 0)
      return;

    OpBuilder b(&getContext());
    Region body;
    optimizers::Update update(b, b.getUnknownLoc(), body, optimizer->states,
                              {beta1, beta2, eps, weightDecay});
    optimizer->update(update);
    const auto uniform = int64_t(update.ofAll().size()),
               grouped = int64_t(update.ofGroups().size());
    const int64_t floats = Head + uniform + grouped * int64_t(groups.size());

    DevicePrograms programs(getOperation(), "optimizer");
    for (StringRef state : optimizer->states)
      programs.declare(RegionRole::State, state, count);
    if (device == "cuda") {
      programs.open("norm");
      const int64_t parts = (count + Span - 1) / Span;
      Value sums = programs.local("sums of squares", parts);
      programs.launch("grad_norm_parts", {programs.region("grads", count), sums}, parts, {count});
      programs.launch("grad_norm", {sums, programs.io("update", {floats})}, 1, {parts});
    }

    programs.open("update");
    if (device == "cuda") {
      static_assert(sizeof(LoracStep) % 4 == 0);
      programs.io("step", {sizeof(LoracStep) / 4}, /*integers=*/true);
    }
    SmallVector<Value> operands{programs.io("update_spans", {spans, 4}, /*integers=*/true),
                                programs.io("update", {floats})};
    SmallVector<int64_t> writes{0}; // the parameters, then the states behind the gradients
    for (StringRef region : {"params", "grads"})
      operands.push_back(programs.region(region, count));
    for (auto [i, state] : llvm::enumerate(optimizer->states)) {
      operands.push_back(programs.region(state, count));
      writes.push_back(2 + int64_t(i));
    }
    for (auto [i, scalar] : llvm::enumerate(update.ofAll()))
      programs.scalar(operands[1], Head + int64_t(i), scalar.name, scalar.formula.attribute(b));
    for (auto [i, scalar] : llvm::enumerate(update.ofGroups()))
      programs.scalar(operands[1], Head + uniform + int64_t(i), scalar.name,
                      scalar.formula.attribute(b), grouped);
    auto integer = [&](StringRef name, int64_t value) {
      return b.getNamedAttr(name, b.getI64IntegerAttr(value));
    };
    programs.launch({"each",
                     {b.getNamedAttr("what", b.getStringAttr(optimizer->name)),
                      integer("regions", int64_t(operands.size()) - 2), integer("first", Clip),
                      integer("uniform", 1 + uniform), integer("by_group", grouped),
                      b.getNamedAttr("writes", b.getDenseI64ArrayAttr(writes))},
                     &body},
                    operands, spans);
  }
};

} // namespace
