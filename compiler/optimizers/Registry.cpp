#include "compiler/optimizers/Optimizer.h"
#include "compiler/optimizers/States.h"

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

std::vector<std::string> lorac::optimizers::statesOf(std::string_view name) {
  std::vector<std::string> out;
  if (const Optimizer *optimizer = findOptimizer(name))
    for (llvm::StringRef state : optimizer->states)
      out.push_back(state.str());
  return out;
}
