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

std::vector<State> lorac::optimizers::statesOf(const Optimizer &optimizer, const Keys &keys) {
  std::vector<State> out;
  for (const State &state : optimizer.states)
    if (!state.needs || keys.*state.needs != 0)
      out.push_back(state);
  return out;
}

static std::vector<State> statesOf(const dsl::OptimizerSpec &spec) {
  Keys keys; // those that some state needs
  keys.momentum = *spec.momentum;
  keys.firstBeta = *spec.firstBeta;
  return statesOf(*findOptimizer(toString(*spec.name)), keys);
}

std::vector<std::string> lorac::optimizers::stateRegions(const dsl::OptimizerSpec &spec) {
  std::vector<std::string> out;
  for (const State &state : ::statesOf(spec)) {
    out.push_back(state.name.str());
    if (lora::isCode(state.storage))
      for (const char *suffix : {formats::absmaxSuffix, formats::compactSuffix})
        out.push_back(state.name.str() + suffix);
  }
  return out;
}

int64_t lorac::optimizers::stateBytes(const dsl::OptimizerSpec &spec,
                                      const std::vector<int64_t> &shape, bool codesOfAll) {
  constexpr int64_t block = formats::dynamicBlock;
  int64_t sum = 0, elements = 1;
  for (int64_t size : shape)
    elements *= size;
  for (const State &state : ::statesOf(spec))
    if (state.storage == lora::Storage::Rows)
      sum += 4 * shape[0];
    else if (state.storage == lora::Storage::Columns)
      sum += 4 * (elements / std::max<int64_t>(shape[0], 1));
    else if (!lora::isCode(state.storage))
      sum += 4 * elements;
    else
      sum += (codesOfAll ? elements : 0) +
             4 * (elements >= *spec.min8bitSize ? (elements + block - 1) / block : elements);
  return sum;
}
