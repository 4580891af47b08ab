// AdaLoRA's importance (runtime/train/ranks/Importance.h), element by element; a score of each
// triplet from it; and what becomes of triplets that are masked or died.

#include "compiler/codegen/cuda/families/TripletTable.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family tripletImportanceFamily, tripletScoresFamily, tripletZerosFamily;
}

static constexpr int64_t span = 4096; // numbers of a block

static Num absolute(Num x) { return max(x, x * -1.0); }

static LogicalResult buildImportance(Kernel &kernel) {
  DeviceBuilder d(
      kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads, kernel.compute(),
      {kernel.argument("by", 0), kernel.argument("params", 1), kernel.argument("grads", 2),
       kernel.argument("sensitivity", 3, true), kernel.argument("uncertainty", 4, true)},
      {"floats"});
  Value by = d.next(), params = d.next(), grads = d.next(), sensitivity = d.next(),
        uncertainty = d.next();
  auto scalar = [&](StringRef name, size_t offset) {
    return d.named(name, d.loadNum(by, {d.constant(int64_t(offset / sizeof(float)))}));
  };
#define SCALAR(name) scalar(#name, offsetof(LoracImportance, name))
  Num clip = SCALAR(clip), keep1 = SCALAR(keep1), take1 = SCALAR(take1), keep2 = SCALAR(keep2),
      take2 = SCALAR(take2);
#undef SCALAR
  Int first = d.named("first", d.blockX() * span),
      last = d.named("last", min(first + span, d.nextScalar()));
  d.loop("i", first + d.thread(), last, tripletThreads, [&](Int i) {
    Num now = d.named("now", absolute(d.loadNum(params, {i}) * (d.loadNum(grads, {i}) * clip)));
    Num mean = d.named("mean", keep1 * d.loadNum(sensitivity, {i}) + take1 * now);
    d.store(mean, sensitivity, {i});
    d.store(keep2 * d.loadNum(uncertainty, {i}) + take2 * absolute(now - mean), uncertainty, {i});
  });
  return success();
}

static LogicalResult buildScores(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(),
                  {kernel.argument("table", 0), kernel.argument("sensitivity", 1),
                   kernel.argument("uncertainty", 2), kernel.argument("scores", 3, true)});
  Value table = d.next(), sensitivity = d.next(), uncertainty = d.next(), scores = d.next();
  Triplets of = tripletsOfBlock(d, table);
  auto addScore = [&](Num sum, Int at) {
    return d.fma(d.loadNum(sensitivity, {at}), d.loadNum(uncertainty, {at}), sum);
  };
  d.comment("the mean over a row of A, a row a warp");
  d.loop("i", d.warp(), of.rank, tripletThreads / 32, [&](Int i) {
    Value sum = d.variable("sum_of_a", d.number(0));
    Int row = d.named("row_begin", of.a + i * of.in);
    d.loop("col", d.lane(), of.in, 32,
           [&](Int col) { d.set(sum, addScore(d.get(sum), row + col)); });
    Num total = d.named("total_of_a", d.warpSum(d.get(sum)));
    d.where(d.lane() == 0, [&] { d.store(total / d.toNum(of.in), scores, {of.first + i}); });
  });
  d.barrier();
  sumColumns(
      d, of, [&](Num sum, Int at, Int) { return addScore(sum, at); },
      [&](Int column, Num sum) {
        Num means =
            d.named("means", d.loadNum(scores, {of.first + column}) + sum / d.toNum(of.out));
        d.store(addScore(means, of.e + column), scores, {of.first + column});
      });
  return success();
}

// All regions that a parameter has a place in, as many as the launch brings; the parameters first.
static LogicalResult buildZero(Kernel &kernel) {
  SmallVector<StringRef> elements;
  kernel.string("elements").split(elements, ' ');
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("table", 0),
                                                 kernel.argument("states", 1)};
  for (unsigned buffer = 2; buffer < elements.size(); ++buffer)
    arguments.push_back(kernel.argument(
        buffer == 2 ? "params" : "region" + std::to_string(buffer - 2), buffer, true));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(), arguments);
  Value table = d.next(), states = d.next();
  SmallVector<Value> regions;
  for (size_t buffer = 2; buffer < elements.size(); ++buffer)
    regions.push_back(d.next());
  Triplets of = tripletsOfBlock(d, table);
  Num zero = d.number(0);
  d.loop("i", d.constant(0), of.rank, 1, [&](Int i) {
    Int state = d.named("state", d.loadInt(states, {of.first + i}));
    d.where(d.thread() == 0 && state < LORAC_TRIPLET_ALIVE,
            [&] { d.store(zero, regions.front(), {of.e + i}); });
    d.where(state == LORAC_TRIPLET_DEAD, [&] {
      for (Value region : regions) {
        d.loop("col", d.thread(), of.in, tripletThreads,
               [&](Int col) { d.store(zero, region, {of.a + i * of.in + col}); });
        d.loop("row", d.thread(), of.out, tripletThreads,
               [&](Int row) { d.store(zero, region, {of.b + row * of.rank + i}); });
        d.where(d.thread() == 0, [&] { d.store(zero, region, {of.e + i}); });
      }
    });
  });
  return success();
}

static Grid spansGrid(DictionaryAttr, const CudaTarget &, int64_t floats) {
  return {ceilDiv(floats, span), 1, 1};
}

const Family lorac::cuda::tripletImportanceFamily = {
    "triplet_importance",
    "I = |p·g|, Ibar = beta1·Ibar + (1 - beta1)·I, Ubar likewise of |I - Ibar|", spansGrid,
    buildImportance};
const Family lorac::cuda::tripletScoresFamily = {
    "triplet_scores",
    "s(E_i) + mean of s over row i of A + mean of s over column i of B, s = Ibar·Ubar, a block a "
    "module",
    gridOfModules, buildScores};
const Family lorac::cuda::tripletZerosFamily = {
    "triplet_zeros", "E = 0 of masked triplets; A, B, E of dead ones, in every region",
    gridOfModules, buildZero};
