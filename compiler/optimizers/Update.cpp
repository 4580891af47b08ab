#include "compiler/optimizers/Update.h"

using namespace mlir;
using namespace lorac::optimizers;

Update::Update(OpBuilder &builder, Location loc, ArrayRef<StringRef> states, const Keys &keys)
    : Body(builder, loc), keys(keys), states(states) {
  argument("param"), argument("grad");
  for (StringRef state : states)
    argument(state);
  gradient = element(1) * one("clip");
}

Element Update::read(StringRef state) {
  auto found = llvm::find(states, state);
  assert(found != states.end() && "what an update reads is told when it begins");
  return this->state(unsigned(found - states.begin()));
}

Element Update::insert(StringRef name, size_t at) {
  return {this,
          block->insertArgument(unsigned(2 + states.size() + at), b.getF32Type(), called(name))};
}
Element Update::one(StringRef name) {
  asked.push_back(name.str());
  return insert(name, asked.size() - 1);
}
Element Update::scalar(StringRef name, const Host &formula) {
  uniform.push_back({name.str(), formula});
  return insert(name, asked.size() + uniform.size() - 1);
}
Element Update::byGroup(StringRef name, const Host &formula) {
  grouped.push_back({name.str(), formula});
  return insert(name, asked.size() + uniform.size() + grouped.size() - 1);
}

void Update::give(Element param, ArrayRef<Element> states) {
  SmallVector<Element> results{param};
  results.append(states.begin(), states.end());
  give(results);
  writesParam = true, writtenStates = unsigned(states.size());
}
void Update::give(ArrayRef<Element> states) {
  writtenStates = unsigned(states.size());
  yield(states);
}
