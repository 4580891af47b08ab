// y = s·x·w with s = 1/√(mean(x²) + eps), and its gradient by x: dx [+]= s·g - x·s³·mean(g·x), g =
// dy·w.

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

/// Independent partial sums: enough to hide the latency of an addition.
static KernelBuilder::Values zeroSums(KernelBuilder &k) {
  return KernelBuilder::Values(4, k.splatF32(0));
}

/// 1/√(squares / n + eps).
static Value inverseRoot(KernelBuilder &k, Value squares, int64_t n, double eps) {
  Value mean = k.divf(squares, k.constF32(static_cast<double>(n)));
  return k.divf(k.constF32(1.0), k.sqrtf(k.addf(mean, k.constF32(eps))));
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
  forEachRow(k, kernel.getTile(), [&](Value m) {
    auto squares = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value value = keepLive(k, k.vload(x, {m, column}), live, k.splatF32(0));
      return k.fma(value, value, sum);
    });
    Value scale = k.broadcast(inverseRoot(k, sumOf(k, squares), n, kernel.floatParam("eps")));
    overColumns(k, n, [&](Value column, int64_t live) {
      k.vstore(k.mulf(k.mulf(k.vload(x, {m, column}), scale), loadLive(k, w, column, live)), y,
               {m, column});
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
  forEachRow(k, kernel.getTile(), [&](Value m) {
    auto squares = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value value = keepLive(k, k.vload(x, {m, column}), live, k.splatF32(0));
      return k.fma(value, value, sum);
    });
    auto products = overColumns(k, n, zeroSums(k), [&](Value column, int64_t live, Value sum) {
      Value g = k.mulf(k.vload(dy, {m, column}), loadLive(k, w, column, live));
      Value product = k.mulf(g, k.vload(x, {m, column}));
      return k.addf(keepLive(k, product, live, k.splatF32(0)), sum);
    });
    Value s = inverseRoot(k, sumOf(k, squares), n, kernel.floatParam("eps"));
    // s³·mean(g·x), grouped so that no factor overflows before the others bring it back.
    Value along = k.mulf(k.mulf(k.mulf(sumOf(k, products), s), k.constF32(1.0 / n)), k.mulf(s, s));
    Value scale = k.broadcast(s), pull = k.broadcast(k.negf(along));
    overColumns(k, n, [&](Value column, int64_t live) {
      Value g = k.mulf(k.vload(dy, {m, column}), loadLive(k, w, column, live));
      Value gradient = k.fma(pull, k.vload(x, {m, column}), k.mulf(scale, g));
      if (accumulate)
        gradient = k.addf(k.vload(dx, {m, column}), gradient);
      k.vstore(gradient, dx, {m, column});
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
