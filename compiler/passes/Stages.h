#pragma once
// The passes between two dumps, in their order: for compiler/pipeline, and for lorac-opt.

#include "compiler/passes/Passes.h"
#include "mlir/Pass/PassManager.h"

namespace lorac::lora {

/// 20-adapted -> 30-backward.
void addBackward(mlir::OpPassManager &pm);

/// 20-adapted -> 30-cached, for text.
void addCached(mlir::OpPassManager &pm);

/// 35-ordered, after FuseKernels -> 40-fused.
void addFusion(mlir::OpPassManager &pm, const PlanRecomputeOptions &recompute);

/// What a target and a spec ask of a plan.
struct PlanChoices {
  std::string device = "cpu"; ///< cpu or cuda
  std::string compute;        ///< cuda: type of activations, bf16 or f16
  bool rankPerKernel = false;
  bool trains = true;         ///< false: there is no optimizer (text)
  AppendUpdateOptions update; ///< its device is `device`
  AppendTripletsOptions triplets;
};

/// 40-fused -> 50-planned. `describe` adds the pass that asks the target's families for tiles and
/// scratch, where they are not known before kernels are made.
void addPlan(mlir::OpPassManager &pm, const PlanChoices &choices,
             llvm::function_ref<void(mlir::OpPassManager &)> describe = {});

/// The above by name: lora-backward, lora-cached, lora-fusion, lora-plan.
void registerLoraStages();

} // namespace lorac::lora
