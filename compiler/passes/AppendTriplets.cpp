// AdaLoRA's regions, and what it does between a model's programs, as programs of a device:
// B·diag(E) into B's place and back, importance, scores, zeroing. Each goes over all modules at
// once, by a table of where their triplets lie, so that its kernels know no rank. Before
// PlanMemory, which places the buffers.

#include "compiler/passes/DevicePrograms.h"
#include "compiler/passes/Passes.h"
#include "runtime/abi.h"

namespace lorac::lora {
#define GEN_PASS_DEF_APPENDTRIPLETS
#include "compiler/passes/Passes.h.inc"
} // namespace lorac::lora

using namespace mlir;
using namespace lorac::lora;

namespace {

struct AppendTripletsPass : lorac::lora::impl::AppendTripletsBase<AppendTripletsPass> {
  using Base::Base;

  void runOnOperation() override {
    int64_t floats = 0, ofB = 0, triplets = 0;
    for (ParamOp param : getOperation().getOps<ParamOp>()) {
      floats += param.count();
      ofB += param.is(ParamRole::LoraB) ? param.count() : 0;
      triplets += param.is(ParamRole::LoraE) ? param.count() : 0;
    }
    if (triplets == 0)
      return;
    auto adapters = getOperation().getOps<AdapterOp>();
    const int64_t modules = std::distance(adapters.begin(), adapters.end());
    DevicePrograms programs(getOperation(), "triplets");
    SmallVector<StringRef> states; // of the optimizer
    for (RegionOp region : getOperation().getOps<RegionOp>())
      if (region.getRole() == RegionRole::State)
        states.push_back(region.getSymName());
    for (StringRef name : {"sensitivity", "uncertainty"})
      programs.declare(RegionRole::Importance, name, floats);
    programs.declare(RegionRole::Unfolded, "unfolded", ofB);
    if (device != "cuda")
      return;
    auto region = [&](StringRef name) { return programs.region(name, floats); };
    auto unfolded = [&] { return programs.region("unfolded", ofB); };
    auto table = [&] {
      return programs.io("triplets", {modules, sizeof(LoracTriplets) / 4}, /*integers=*/true);
    };

    auto open = [&](StringRef name) { // marked as @regularize is (AttachAdapters)
      programs.open(name)->setAttr("adalora", UnitAttr::get(&getContext()));
    };
    open("fold");
    programs.launch("fold_triplets", {table(), region("params"), unfolded()}, modules);
    open("unfold");
    programs.launch("unfold_triplets", {table(), unfolded(), region("params")}, modules);
    open("unfold_grads");
    programs.launch("unfold_gradients", {table(), region("params"), region("grads")}, modules);

    open("importance");
    programs.launch("triplet_importance",
                    {programs.io("importance", {sizeof(LoracImportance) / 4}), region("params"),
                     region("grads"), region("sensitivity"), region("uncertainty")},
                    floats, {floats});
    open("scores");
    programs.launch("triplet_scores",
                    {table(), region("sensitivity"), region("uncertainty"),
                     programs.io("triplet_scores", {triplets})},
                    modules);
    open("zero_triplets");
    SmallVector<Value> zeroed{table(), programs.io("triplet_states", {triplets}, /*integers=*/true),
                              region("params")};
    for (StringRef state : states)
      zeroed.push_back(region(state));
    for (StringRef average : {"sensitivity", "uncertainty"})
      zeroed.push_back(region(average));
    programs.launch("triplet_zeros", zeroed, modules);
  }
};

} // namespace
