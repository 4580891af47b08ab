#include "compiler/pipeline/UpdatePrograms.h"
#include "compiler/passes/Passes.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::lora;

void lorac::addUpdatePrograms(PassManager &pm, const dsl::Spec &spec, const std::string &device) {
  const dsl::OptimizerSpec &optimizer = spec.optimizer;
  pm.addPass(createAppendUpdate({.optimizer = std::string(toString(*optimizer.name)),
                                 .beta1 = *optimizer.beta1,
                                 .beta2 = *optimizer.beta2,
                                 .eps = *optimizer.eps,
                                 .weightDecay = *optimizer.weightDecay,
                                 .min8bitSize = *optimizer.min8bitSize,
                                 .device = device}));
  AppendTripletsOptions triplets;
  if (const auto &adalora = spec.adapter.adalora)
    triplets.beta1 = *adalora->beta1, triplets.beta2 = *adalora->beta2;
  triplets.device = device;
  pm.addPass(createAppendTriplets(triplets));
}
