// y = x / sqrt(mean(x²) + eps)·w, and its gradient by x (docs/dialect.md, rms_norm); a warp a row.
// Sums run over lanes in a fixed order, first each lane's own columns, then a tree over the warp.

#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family rmsNormForwardFamily, rmsNormBackwardFamily;
}

static Num rowSum(DeviceBuilder &d, StringRef name, int64_t n, llvm::function_ref<Num(Int)> term) {
  Value sum = d.variable(name, d.number(0));
  overColumns(d, n, [&](Int col) { d.set(sum, d.get(sum) + term(col)); });
  return d.warpSum(d.get(sum));
}

static LogicalResult buildForward(Kernel &kernel) {
  int64_t n = kernel.integer("n"), ldx = kernel.integer("ldx"), ldy = kernel.integer("ldy");
  auto weight = DeviceBuilder::Argument{
      "w", MemRefType::get({ShapedType::kDynamic}, Float32Type::get(kernel.op.getContext()))};
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(),
                  {kernel.argument("x", 0), weight, kernel.argument("y", 1, true)});
  Value x = d.next(), w = d.next(), y = d.next();
  Int row = warpRow(d);
  Num squares = rowSum(d, "squares", n, [&](Int col) {
    Num value = d.named("value", d.loadNum(x, {row * ldx + col}));
    return value * value;
  });
  Num factor = d.named("factor", d.number(1) / d.sqrt(squares / d.number(double(n)) +
                                                      d.number(kernel.number("eps"))));
  overColumns(d, n, [&](Int col) {
    d.store(d.loadNum(x, {row * ldx + col}) * factor * d.loadNum(w, {col}), y, {row * ldy + col});
  });
  return success();
}

static LogicalResult buildBackward(Kernel &kernel) {
  int64_t n = kernel.integer("n"), ldx = kernel.integer("ldx"), lddy = kernel.integer("lddy"),
          lddx = kernel.integer("lddx");
  auto weight = DeviceBuilder::Argument{
      "w", MemRefType::get({ShapedType::kDynamic}, Float32Type::get(kernel.op.getContext()))};
  DeviceBuilder d(
      kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads, kernel.compute(),
      {kernel.argument("x", 0), weight, kernel.argument("dy", 1), kernel.argument("dx", 2, true)});
  Value x = d.next(), w = d.next(), dy = d.next(), dx = d.next();
  Int row = warpRow(d);
  auto gradient = [&](Int col) { return d.loadNum(dy, {row * lddy + col}) * d.loadNum(w, {col}); };
  Num squares = rowSum(d, "squares", n, [&](Int col) {
    Num value = d.named("value", d.loadNum(x, {row * ldx + col}));
    return value * value;
  });
  Num product = rowSum(d, "product", n,
                       [&](Int col) { return gradient(col) * d.loadNum(x, {row * ldx + col}); });
  Num factor = d.named("factor", d.number(1) / d.sqrt(squares / d.number(double(n)) +
                                                      d.number(kernel.number("eps"))));
  Num along = d.named("along_x", factor * factor * factor * (product / d.number(double(n))));
  overColumns(d, n, [&](Int col) {
    Num value = factor * gradient(col) - d.loadNum(x, {row * ldx + col}) * along;
    if (kernel.flag("accumulate"))
      value = d.loadNum(dx, {row * lddx + col}) + value;
    d.store(value, dx, {row * lddx + col});
  });
  return success();
}

const Family lorac::cuda::rmsNormForwardFamily = {
    "rms_norm_forward", "y = x / sqrt(mean(x²) + eps) · w", rowGrid, buildForward};
const Family lorac::cuda::rmsNormBackwardFamily = {
    "rms_norm_backward", "dx [+]= s·dy·w - x·s³·mean(dy·w·x), s = 1 / sqrt(mean(x²) + eps)",
    rowGrid, buildBackward};
