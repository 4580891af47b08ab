#include "compiler/codegen/cpu/families/Partials.h"

using namespace mlir;
using namespace lorac::cpu;

Value lorac::cpu::sumInPartials(KernelBuilder &k, int64_t partials, Value count,
                                llvm::function_ref<Value(Value i, Value mask)> numbers) {
  Type f64 = k.builder().getF64Type();
  VectorType vector = k.vec(f64, k.lanes());
  Value sums = k.scratch(0, {partials}, f64), none = k.index(0);
  auto load = [&](Value at) { return k.vload(vector, sums, at); };
  auto overSums = [&](Value upper, llvm::function_ref<Value(Value at)> next) {
    k.forLoop(none, upper, k.lanes(), [&](Value at) { k.vstore(next(at), sums, at); });
  };
  Value zero = k.constant(DenseElementsAttr::get(vector, 0.0));
  Value whole = k.mul(k.div(count, partials), partials), rest = k.sub(count, whole);
  overSums(k.index(partials), [&](Value) { return zero; });
  k.forLoop(none, whole, partials, [&](Value i) {
    overSums(k.index(partials),
             [&](Value at) { return k.addf(load(at), numbers(k.add(i, at), {})); });
  });
  overSums(rest, [&](Value at) {
    Value mask = k.mask(k.sub(rest, at)), sum = load(at);
    return k.select(mask, k.addf(sum, numbers(k.add(whole, at), mask)), sum);
  });
  for (int64_t half = partials / 2; half >= k.lanes(); half /= 2)
    overSums(k.index(half), [&](Value at) { return k.addf(load(at), load(k.add(at, half))); });
  return k.reduceAdd(load(none));
}
