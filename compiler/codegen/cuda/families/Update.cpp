// The optimizer's kernels: the gradient's norm in two stages of fixed order, and AdamW (Loshchilov
// & Hutter 2019, algorithm 2) over all adapters at once. The update region is a LoracUpdate
// (runtime/abi.h).

#include "compiler/codegen/cuda/Families.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family gradNormPartsFamily, gradNormFamily, adamwFamily;
}

static constexpr int64_t span = 4096, threads = 256;

#define FIELD(name) int64_t(offsetof(LoracUpdate, name) / sizeof(float))

// The block's sum of each thread's `value`, in thread 0: a tree over each warp, then over the
// warps.
static void blockSum(DeviceBuilder &d, Num value, llvm::function_ref<void(Num)> use) {
  Value sums = d.shared("warp_sums", threads / 32, d.f32());
  Num partial = d.warpSum(value);
  d.where(d.lane() == 0, [&] { d.store(partial, sums, {d.warp()}); });
  d.barrier();
  d.where(d.thread() == 0, [&] {
    Num total = d.loadNum(sums, {d.constant(0)});
    for (int64_t warp = 1; warp < threads / 32; ++warp)
      total = d.named("total", total + d.loadNum(sums, {d.constant(warp)}));
    use(total);
  });
}

static LogicalResult buildParts(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(),
                  {kernel.argument("grads", 0), kernel.argument("parts", 1, true)}, {"floats"});
  Value grads = d.next(), parts = d.next();
  Int first = d.named("first", d.blockX() * span),
      last = d.named("last", min(first + span, d.nextScalar()));
  Value sum = d.variable("sum", d.number(0));
  d.loop("i", first + d.thread(), last, threads, [&](Int i) {
    Num g = d.named("g", d.loadNum(grads, {i}));
    d.set(sum, d.fma(g, g, d.get(sum)));
  });
  blockSum(d, d.get(sum), [&](Num total) { d.store(total, parts, {d.blockX()}); });
  return success();
}

static LogicalResult buildNorm(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(),
                  {kernel.argument("parts", 0), kernel.argument("update", 1, true)}, {"blocks"});
  Value parts = d.next(), update = d.next();
  Value sum = d.variable("sum", d.number(0));
  d.loop("i", d.thread(), d.nextScalar(), threads,
         [&](Int i) { d.set(sum, d.get(sum) + d.loadNum(parts, {i})); });
  blockSum(d, d.get(sum), [&](Num total) {
    Num scale = d.named("gradient_scale", d.loadNum(update, {d.constant(FIELD(gradient_scale))}));
    Num norm = d.named("norm", d.sqrt(total) * scale);
    d.store(norm, update, {d.constant(FIELD(norm))});
    Num most = d.named("max_norm", d.loadNum(update, {d.constant(FIELD(max_norm))}));
    Num clipped = d.named("clipped", min(d.number(1), most / (norm + d.number(1e-6))));
    d.store(d.select(d.number(0) < most, clipped, d.number(1)) * scale, update,
            {d.constant(FIELD(clip))});
  });
  return success();
}

static LogicalResult buildAdamw(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(),
                  {kernel.argument("spans", 0), kernel.argument("update", 1),
                   kernel.argument("params", 2, true), kernel.argument("grads", 3),
                   kernel.argument("exp_avg", 4, true), kernel.argument("exp_avg_sq", 5, true)});
  Value spans = d.next(), update = d.next(), params = d.next(), grads = d.next(), expAvg = d.next(),
        expAvgSq = d.next();
  auto scalar = [&](StringRef name, int64_t field) {
    return d.named(name, d.loadNum(update, {d.constant(field)}));
  };
  Int entry = d.named("entry", d.blockX() * 4);
  Int first = d.named("first", d.loadInt(spans, {entry})),
      count = d.named("count", d.loadInt(spans, {entry + 1})),
      group = d.named("group", d.loadInt(spans, {entry + 2}));
  Num oneMinusBeta1 = scalar("one_minus_beta1", FIELD(one_minus_beta1)),
      beta2 = scalar("beta2", FIELD(beta2)),
      oneMinusBeta2 = scalar("one_minus_beta2", FIELD(one_minus_beta2)),
      correction = scalar("correction2_sqrt", FIELD(correction2_sqrt)),
      eps = scalar("eps", FIELD(eps)), clip = scalar("clip", FIELD(clip));
  Num decay = d.named("decay", d.loadNum(update, {group + FIELD(decay)}));
  Num minusStep = d.named("minus_step", d.loadNum(update, {group + FIELD(minus_step)}));
  d.loop("i", first + d.thread(), first + count, threads, [&](Int i) {
    Num g = d.named("g", d.loadNum(grads, {i}) * clip);
    Num m = d.named("m", d.loadNum(expAvg, {i})), v = d.named("v", d.loadNum(expAvgSq, {i}));
    Num mean = d.named("mean", m + oneMinusBeta1 * (g - m));
    Num square = d.named("square", v * beta2 + oneMinusBeta2 * g * g);
    d.store(mean, expAvg, {i});
    d.store(square, expAvgSq, {i});
    Num decayed = d.named("decayed", d.loadNum(params, {i}) * decay);
    d.store(decayed + minusStep * mean / (d.sqrt(square) / correction + eps), params, {i});
  });
  return success();
}

static Grid blockARow(DictionaryAttr, const CudaTarget &, int64_t rows) { return {rows, 1, 1}; }

const Family lorac::cuda::gradNormPartsFamily = {
    "grad_norm_parts", "parts[b] = Σ g² over the b-th 4096 gradients", blockARow, buildParts};
const Family lorac::cuda::gradNormFamily = {
    "grad_norm",
    "norm = gradient_scale·sqrt(Σ parts), clip = gradient_scale·min(1, max_norm / (norm + 1e-6))",
    blockARow, buildNorm};
const Family lorac::cuda::adamwFamily = {"adamw",
                                         "p = p·decay + minus_step·m / (sqrt(v) / sqrt(1 - "
                                         "beta2^t) + eps), one block a span of at most 4096",
                                         blockARow, buildAdamw};
