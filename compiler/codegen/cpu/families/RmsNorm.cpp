// y = s·x·w with s = 1/√(mean(x²) + eps).
// Its gradient by x: dx [+]= s·g - x·s³·mean(g·x) with g = dy·w.
// With `heads` a row holds so many of them, side by side.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family rmsNormForwardFamily, rmsNormBackwardFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 16};
}

static int64_t headsOf(lora::KernelOp kernel) {
  return kernel.hasParam("heads") ? kernel.intParam("heads") : 1;
}

/// Independent partial sums: enough to hide the latency of an addition.
static KernelBuilder::Values zeroSums(KernelBuilder &k) {
  return KernelBuilder::Values(4, k.splatF32(0));
}

/// 1/√(squares / n + eps).
static Value inverseRoot(KernelBuilder &k, Value squares, int64_t n, double eps) {
  Value mean = k.divf(squares, k.constF32(static_cast<double>(n)));
  return k.divf(k.constF32(1.0), k.sqrtf(k.addf(mean, k.constF32(eps))));
}

/// norm(m, begin) for each norm: of row m, from column `begin` on.
static void forEachNorm(KernelBuilder &k, lora::KernelOp kernel,
                        llvm::function_ref<void(Value m, Value begin)> norm) {
  const int64_t n = kernel.intParam("n"), heads = headsOf(kernel);
  forEachRow(k, kernel.getTile(), [&](Value m) {
    if (heads == 1)
      return norm(m, k.index(0));
    k.forLoop(k.index(0), k.index(heads * n), n, [&](Value begin) { norm(m, begin); });
  });
}

/// Norms beside each other have no padding of their own: lanes from `live` on are not touched.
static Value loadColumns(KernelBuilder &k, lora::KernelOp kernel, Value memory, ValueRange at,
                         int64_t live) {
  return headsOf(kernel) == 1 || live >= k.lanes() ? k.vload(memory, at)
                                                   : k.vloadMasked(memory, at, k.mask(live));
}
static void storeColumns(KernelBuilder &k, lora::KernelOp kernel, Value value, Value memory,
                         ValueRange at, int64_t live) {
  storeLive(k, value, memory, at, headsOf(kernel) > 1 ? live : k.lanes());
}

static LogicalResult buildForward(lora::KernelOp kernel, OpBuilder &builder,
                                  const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  int64_t n = kernel.intParam("n");
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, kernel.intParam("ldx")),
                   KernelBuilder::dense({n}, Float32Type::get(context)),
                   KernelBuilder::activation(context, kernel.intParam("ldy"))});
  Value x = k.buffer(0), w = k.buffer(1), y = k.buffer(2);
  forEachNorm(k, kernel, [&](Value m, Value begin) {
    auto at = [&](Value column) -> SmallVector<Value, 2> {
      return {m, headsOf(kernel) == 1 ? column : k.add(begin, column)};
    };
    auto squares = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value value = keepLive(k, loadColumns(k, kernel, x, at(column), live), live, k.splatF32(0));
      return k.fma(value, value, sum);
    });
    Value scale = k.broadcast(inverseRoot(k, sumOf(k, squares), n, kernel.floatParam("eps")));
    overColumns(k, n, [&](Value column, int64_t live) {
      Value scaled = k.mulf(k.mulf(loadColumns(k, kernel, x, at(column), live), scale),
                            loadLive(k, w, column, live));
      storeColumns(k, kernel, scaled, y, at(column), live);
    });
  });
  return success();
}

static LogicalResult buildBackward(lora::KernelOp kernel, OpBuilder &builder,
                                   const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  int64_t n = kernel.intParam("n");
  bool accumulate = kernel.intParam("accumulate");
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, kernel.intParam("ldx")),
                   KernelBuilder::dense({n}, Float32Type::get(context)),
                   KernelBuilder::activation(context, kernel.intParam("lddy")),
                   KernelBuilder::activation(context, kernel.intParam("lddx"))});
  Value x = k.buffer(0), w = k.buffer(1), dy = k.buffer(2), dx = k.buffer(3);
  forEachNorm(k, kernel, [&](Value m, Value begin) {
    auto at = [&](Value column) -> SmallVector<Value, 2> {
      return {m, headsOf(kernel) == 1 ? column : k.add(begin, column)};
    };
    auto squares = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value value = keepLive(k, loadColumns(k, kernel, x, at(column), live), live, k.splatF32(0));
      return k.fma(value, value, sum);
    });
    auto products = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value g = k.mulf(loadColumns(k, kernel, dy, at(column), live), loadLive(k, w, column, live));
      Value product = k.mulf(g, loadColumns(k, kernel, x, at(column), live));
      return k.addf(keepLive(k, product, live, k.splatF32(0)), sum);
    });
    Value s = inverseRoot(k, sumOf(k, squares), n, kernel.floatParam("eps"));
    // s³·mean(g·x), grouped so that no factor overflows before the others bring it back.
    Value along = k.mulf(k.mulf(k.mulf(sumOf(k, products), s), k.constF32(1.0 / n)), k.mulf(s, s));
    Value scale = k.broadcast(s), pull = k.broadcast(k.negf(along));
    overColumns(k, n, [&](Value column, int64_t live) {
      Value g = k.mulf(loadColumns(k, kernel, dy, at(column), live), loadLive(k, w, column, live));
      Value gradient = k.fma(pull, loadColumns(k, kernel, x, at(column), live), k.mulf(scale, g));
      if (accumulate)
        gradient = k.addf(loadColumns(k, kernel, dx, at(column), live), gradient);
      storeColumns(k, kernel, gradient, dx, at(column), live);
    });
  });
  return success();
}

static int64_t flopsForward(DictionaryAttr params, int64_t rows) {
  return 4 * rows * intParam(params, "n");
}
static int64_t flopsBackward(DictionaryAttr params, int64_t rows) {
  return 9 * rows * intParam(params, "n");
}

const Family lorac::cpu::rmsNormForwardFamily = {
    "rms_norm_forward", "y = x / sqrt(mean(x²) + eps) · w", describe, buildForward, flopsForward};
const Family lorac::cpu::rmsNormBackwardFamily = {
    "rms_norm_backward", "dx [+]= s·g - x·s³·mean(g·x), s = 1/sqrt(mean(x²) + eps), g = dy·w",
    describe, buildBackward, flopsBackward};
