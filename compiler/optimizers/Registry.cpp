#include "compiler/optimizers/Optimizer.h"
#include "compiler/optimizers/States.h"
#include "runtime/formats/Dynamic8.h"
#include "runtime/formats/StateLayout.h"

using namespace lorac;
using namespace lorac::optimizers;

namespace lorac::optimizers {
#define LORAC_OPTIMIZER(Name, ...) extern const Optimizer optimizer##Name;
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
} // namespace lorac::optimizers

llvm::ArrayRef<const Optimizer *> lorac::optimizers::allOptimizers() {
  static const Optimizer *const table[] = {
#define LORAC_OPTIMIZER(Name, ...) &optimizer##Name,
#include "dsl/Optimizers.def"
#undef LORAC_OPTIMIZER
  };
  return table;
}

const Optimizer *lorac::optimizers::findOptimizer(llvm::StringRef name) {
  for (const Optimizer *optimizer : allOptimizers())
    if (optimizer->name == name)
      return optimizer;
  return nullptr;
}

std::vector<std::string> lorac::optimizers::stateRegions(std::string_view name) {
  std::vector<std::string> out;
  if (const Optimizer *optimizer = findOptimizer(name))
    for (const State &state : optimizer->states) {
      out.push_back(state.name.str());
      if (lora::isCode(state.storage))
        for (const char *suffix : {formats::absmaxSuffix, formats::compactSuffix})
          out.push_back(state.name.str() + suffix);
    }
  return out;
}

int64_t lorac::optimizers::stateBytes(std::string_view name, int64_t elements, int64_t min8bitSize,
                                      bool codesOfAll) {
  constexpr int64_t block = formats::dynamicBlock;
  int64_t sum = 0;
  if (const Optimizer *optimizer = findOptimizer(name))
    for (const State &state : optimizer->states)
      if (!lora::isCode(state.storage))
        sum += 4 * elements;
      else
        sum += (codesOfAll ? elements : 0) +
               4 * (elements >= min8bitSize ? (elements + block - 1) / block : elements);
  return sum;
}
