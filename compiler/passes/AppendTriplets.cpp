// AdaLoRA's regions, and what it does between a model's programs: importance, B·diag(E) into B's
// place and back, scores, zeroing. All but the first go over all modules at once, by a table of
// where their triplets lie, so that their kernels know no rank. Before PlanMemory, which places the
// buffers.

#include "compiler/passes/Passes.h"
#include "compiler/passes/RegionPrograms.h"
#include "runtime/abi.h"

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDTRIPLETS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

namespace {

constexpr StringRef averages[] = {"sensitivity", "uncertainty"};

// Zhang et al. 2023, eq. 8 to 10, as PEFT has it:
//   I = |p·g|, p after the update
//   Ibar = beta1·Ibar + (1 - beta1)·I
//   Ubar = beta2·Ubar + (1 - beta2)·|I - Ibar|
// Both averages begin at 0 and are not corrected for it.
void appendImportance(RegionPrograms &programs, OpBuilder &b, double beta1, double beta2) {
  using optimizers::Element, optimizers::Host;
  optimizers::Update step(b, b.getUnknownLoc(), averages, {});
  Element keep1 = step.scalar("beta1", beta1),
          take1 = step.scalar("one_minus_beta1", 1 - Host(beta1)),
          keep2 = step.scalar("beta2", beta2),
          take2 = step.scalar("one_minus_beta2", 1 - Host(beta2));
  Element now = abs(step.param() * step.grad());
  Element keptMean = keep1 * step.state(0), mean = keptMean + take1 * now;
  Element off = abs(now - mean), keptOff = keep2 * step.state(1);
  step.give({mean, keptOff + take2 * off});
  RegionPrograms::Told told{programs.toldOf(step)};
  programs.launch("importance", step, told);
}

struct AppendTripletsPass : lorac::lora::impl::AppendTripletsBase<AppendTripletsPass> {
  using Base::Base;

  void runOnOperation() override {
    int64_t ofB = 0, triplets = 0;
    for (ParamOp param : getOperation().getOps<ParamOp>()) {
      ofB += param.is(ParamRole::LoraB) ? param.count() : 0;
      triplets += param.is(ParamRole::LoraE) ? param.count() : 0;
    }
    if (triplets == 0)
      return;
    auto adapters = getOperation().getOps<AdapterOp>();
    const int64_t modules = std::distance(adapters.begin(), adapters.end());
    RegionPrograms programs(getOperation(), "triplets");
    SmallVector<RegionOp> states; // of the optimizer: where one has numbers of parameters
    for (RegionOp region : getOperation().getOps<RegionOp>())
      if (region.getRole() == RegionRole::State && region.getStorage() != Storage::Absmax)
        states.push_back(region);
    for (StringRef name : averages)
      programs.declare(RegionRole::Importance, name, programs.floats());
    programs.declare(RegionRole::Unfolded, "unfolded", ofB);
    OpBuilder b(&getContext());
    programs.open("importance", When::Update);
    appendImportance(programs, b, beta1, beta2);
    auto region = [&](StringRef name) { return programs.region(name); };
    auto unfolded = [&] { return programs.region("unfolded", ofB); };
    auto table = [&] {
      return programs.io("triplets", {modules, sizeof(LoracTriplets) / 4}, /*integers=*/true);
    };

    programs.open("fold", When::WindowBegin);
    programs.launch("fold_triplets", {table(), region("params"), unfolded()}, modules);
    programs.open("unfold", When::WindowEnd);
    programs.launch("unfold_triplets", {table(), unfolded(), region("params")}, modules);
    programs.open("unfold_grads", When::WindowEnd);
    programs.launch("unfold_gradients", {table(), region("params"), region("grads")}, modules);

    programs.open("scores", When::Allocation);
    programs.launch("triplet_scores",
                    {table(), region("sensitivity"), region("uncertainty"),
                     programs.io("triplet_scores", {triplets})},
                    modules);
    programs.open("zero_triplets", When::Allocation);
    SmallVector<Value> zeroed{table(),
                              programs.io("triplet_states", {triplets}, /*integers=*/true)};
    KernelKey key{"triplet_zeros", {}};
    SmallVector<StringRef> storage{stringifyStorage(Storage::Floats)};
    for (RegionOp state : states)
      storage.push_back(stringifyStorage(state.getStorage()));
    storage.append(2, stringifyStorage(Storage::Floats));
    if (llvm::any_of(states, [](RegionOp of) { return of.getStorage() != Storage::Floats; })) {
      zeroed.push_back(programs.io("triplet_owns", {modules, 3}, /*integers=*/true));
      key.params.push_back(b.getNamedAttr("storage", b.getStrArrayAttr(storage)));
    } else {
      key.params.push_back(b.getNamedAttr("regions", b.getI64IntegerAttr(int64_t(storage.size()))));
    }
    zeroed.push_back(region("params"));
    for (RegionOp state : states)
      zeroed.push_back(region(state.getSymName()));
    for (StringRef average : averages)
      zeroed.push_back(region(average));
    programs.launch(key, zeroed, modules);
  }
};

} // namespace
