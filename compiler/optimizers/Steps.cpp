#include "compiler/optimizers/Steps.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::optimizers;

Element Terms::read(StringRef region) {
  regions.push_back(region.str());
  return {this,
          block->insertArgument(unsigned(regions.size() - 1), b.getF32Type(), called(region))};
}

Element Terms::ask(One one) {
  ones.push_back(std::move(one));
  return argument(ones.back().name);
}

Element Whole::ask(One one) {
  ones.push_back(std::move(one));
  return argument(ones.back().name);
}

void Whole::give(ArrayRef<std::pair<StringRef, Element>> numbers) {
  SmallVector<Element> results;
  for (auto &[name, number] : numbers)
    given.push_back(name.str()), results.push_back(number);
  yield(results);
}

Update &Steps::map(StringRef what, ArrayRef<StringRef> reads) {
  list.push_back(MapStep{what.str(), std::make_unique<Update>(b, loc, reads, keys)});
  return *std::get<MapStep>(list.back()).update;
}

Terms &Steps::mean(lora::Storage line, StringRef result) {
  list.push_back(MeanStep{result.str(), line, std::make_unique<Terms>(b, loc), std::nullopt});
  return *std::get<MeanStep>(list.back()).terms;
}

Terms &Steps::average(lora::Storage line, StringRef state, const Host &keep) {
  list.push_back(MeanStep{state.str(), line, std::make_unique<Terms>(b, loc), keep});
  return *std::get<MeanStep>(list.back()).terms;
}

Steps::Sum Steps::sum(StringRef what) {
  list.push_back(
      SumStep{what.str(), std::make_unique<Terms>(b, loc), std::make_unique<Whole>(b, loc)});
  const auto &step = std::get<SumStep>(list.back());
  return {*step.terms, *step.whole};
}
