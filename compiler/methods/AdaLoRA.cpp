// AdaLoRA (Zhang et al. 2023): LoRA's products with B·diag(E) folded into B, so E stands in none of
// them; beside the model's programs the orthogonality term of the loss (docs/adalora.md).

#include "compiler/methods/Orthogonality.h"

using namespace mlir;
using namespace lorac::lora;
using namespace lorac::methods;

static Value rewrite(Site &s) {
  Value y = s.sum(s.base(), s.lowRank(s.dropped()).y);
  s.declare(ParamRole::LoraE, {s.rank(), 1});
  return y;
}

// A triplet that is gone is a row of zeros and no part of the term.
static void addPrograms(ModuleOp module) {
  for (AdaLoraOp adalora : llvm::make_early_inc_range(module.getOps<AdaLoraOp>()))
    addOrthogonality(module, adalora.getOrthRegWeight().convertToDouble(), /*whole=*/false);
}

namespace lorac::methods {
extern const Method methodAdaLoRA;
}
const Method lorac::methods::methodAdaLoRA = {"adalora", rewrite, addPrograms};
