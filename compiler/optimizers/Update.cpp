#include "compiler/optimizers/Update.h"

using namespace mlir;
using namespace lorac::optimizers;

Update::Update(OpBuilder &builder, Location loc, ArrayRef<StringRef> states, const Keys &keys)
    : Body(builder, loc), keys(keys), states(states) {
  argument("param"), argument("grad");
  for (StringRef state : states)
    argument(state);
  Element clip = argument("clip");
  gradient = element(1) * clip;
}

Element Update::scalar(StringRef name, const Host &formula) {
  return formula.isOfGroup() ? byGroup(name, formula) : ask(name, formula, uniform, uniform.size());
}
Element Update::byGroup(StringRef name, const Host &formula) {
  return ask(name, formula, grouped, uniform.size() + grouped.size());
}
Element Update::ask(StringRef name, const Host &formula, std::vector<Scalar> &list, size_t at) {
  list.push_back({name.str(), formula});
  const unsigned argument = unsigned(2 + states.size() + 1 + at);
  return {this, block->insertArgument(argument, b.getF32Type(), called(name))};
}

void Update::give(Element param, ArrayRef<Element> states) {
  SmallVector<Element> results{param};
  results.append(states.begin(), states.end());
  yield(results);
}
