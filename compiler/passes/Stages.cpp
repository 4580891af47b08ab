#include "compiler/passes/Stages.h"
#include "mlir/Pass/PassOptions.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace lorac::lora;

void lorac::lora::addBackward(OpPassManager &pm) {
  pm.addPass(createFuseElementwise());
  pm.addPass(createDifferentiate());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void lorac::lora::addCached(OpPassManager &pm) {
  pm.addPass(createFuseElementwise());
  pm.addPass(createCacheAttention());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createCSEPass());
}

void lorac::lora::addFusion(OpPassManager &pm, const PlanRecomputeOptions &recompute) {
  pm.addPass(createPlanRecompute(recompute));
  pm.addPass(createFuseElementwise());
  pm.addPass(createCanonicalizerPass());
  pm.addPass(createFuseEpilogues());
}

void lorac::lora::addPlan(OpPassManager &pm, const PlanChoices &choices,
                          llvm::function_ref<void(OpPassManager &)> describe) {
  const bool isCuda = choices.device == "cuda";
  SelectKernelsOptions select;
  select.device = choices.device;
  select.rankPerKernel = choices.rankPerKernel;
  if (isCuda)
    select.compute = choices.compute;
  pm.addPass(createSelectKernels(select));
  if (isCuda)
    pm.addPass(createStackLaunches());
  if (choices.trains) {
    AppendUpdateOptions update = choices.update;
    update.device = choices.device;
    pm.addPass(createAppendUpdate(update));
    pm.addPass(createAppendTriplets(choices.triplets));
  }
  if (describe)
    describe(pm);
  PlanMemoryOptions memory;
  if (isCuda)
    memory.alignment = 256;
  pm.addPass(createPlanMemory(memory));
  pm.addPass(createCheckMemory());
}

namespace {

struct OfDevice : PassPipelineOptions<OfDevice> {
  Option<std::string> device{*this, "device", llvm::cl::desc("cpu or cuda"), llvm::cl::init("cpu")};
};
struct OfPlan : PassPipelineOptions<OfPlan> {
  Option<std::string> device{*this, "device", llvm::cl::desc("cpu or cuda"), llvm::cl::init("cpu")};
  Option<std::string> compute{*this, "compute", llvm::cl::desc("type of activations on cuda"),
                              llvm::cl::init("bf16")};
  Option<std::string> optimizer{*this, "optimizer",
                                llvm::cl::desc("its word in a spec; \"\": none"),
                                llvm::cl::init("adamw")};
};

} // namespace

void lorac::lora::registerLoraStages() {
  PassPipelineRegistration<>("lora-backward", "20-adapted -> 30-backward", addBackward);
  PassPipelineRegistration<>("lora-cached", "20-adapted -> 30-cached", addCached);
  PassPipelineRegistration<OfDevice>("lora-fusion", "35-ordered -> 40-fused",
                                     [](OpPassManager &pm, const OfDevice &options) {
                                       pm.addPass(createFuseKernels());
                                       addFusion(pm, {.device = options.device});
                                     });
  PassPipelineRegistration<OfPlan>(
      "lora-plan", "40-fused -> 50-planned", [](OpPassManager &pm, const OfPlan &options) {
        PlanChoices choices;
        choices.device = options.device, choices.compute = options.compute;
        choices.update.optimizer = options.optimizer;
        choices.trains = !options.optimizer.empty();
        addPlan(pm, choices);
      });
}
