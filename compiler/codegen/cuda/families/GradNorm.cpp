// The gradient's norm in two stages of fixed order; it is written into the LoracNorm
// (runtime/abi.h) with which the update's scalars begin.

#include "compiler/codegen/cuda/Families.h"
#include "runtime/abi.h"

#include <cstddef>

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family gradNormPartsFamily, gradNormFamily;
}

static constexpr int64_t span = 4096, threads = 256;

#define FIELD(name) int64_t(offsetof(LoracNorm, name) / sizeof(float))

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

static Grid blockARow(DictionaryAttr, const CudaTarget &, int64_t rows) { return {rows, 1, 1}; }

const Family lorac::cuda::gradNormPartsFamily = {
    "grad_norm_parts", "parts[b] = Σ g² over the b-th 4096 gradients", blockARow, buildParts};
const Family lorac::cuda::gradNormFamily = {
    "grad_norm",
    "norm = gradient_scale·sqrt(Σ parts), clip = gradient_scale·min(1, max_norm / (norm + 1e-6))",
    blockARow, buildNorm};
