// y = x / sqrt(mean(x²) + eps)·w, and its gradient by x (docs/dialect.md, rms_norm); a warp a row,
// and with `heads` the norms of a row one after another. Sums run over lanes in a fixed order,
// first each lane's own columns, then a tree over the warp.

#include "compiler/codegen/cuda/families/Rows.h"

#include <functional>

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family rmsNormForwardFamily, rmsNormBackwardFamily;
}

// Σ term over a row, eight columns at a time: `terms` gets their first and says what each adds.
static Num rowSum(DeviceBuilder &d, StringRef name, int64_t n,
                  llvm::function_ref<std::function<Num(Int e)>(Int col)> terms) {
  Value sum = d.variable(name, d.number(0));
  overPieces(d, n, [&](Int col) {
    std::function<Num(Int)> term = terms(col);
    d.unrolled("e", Pieces::size, [&](Int e) { d.set(sum, d.get(sum) + term(e)); });
  });
  return d.warpSum(d.get(sum));
}

// norm(column) for each norm of a row, from column `column` on.
static void forEachNorm(DeviceBuilder &d, Kernel &kernel, llvm::function_ref<void(Int)> norm) {
  if (!kernel.has("heads"))
    return norm(d.constant(0));
  int64_t n = kernel.integer("n");
  d.loop("head_begin", 0, kernel.integer("heads") * n, n, norm);
}

// Rows of a matrix begin at multiples of 16 bytes, norms beside each other where their length does.
static bool isAligned(Kernel &kernel) {
  return !kernel.has("heads") || kernel.integer("n") % Pieces::size == 0;
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
  Pieces pieces(d, n, isAligned(kernel)), weights(d, n);
  Int zero = d.constant(0);
  forEachNorm(d, kernel, [&](Int begin) {
    auto place = [&](StringRef name, int64_t ld) {
      return kernel.has("heads") ? d.named(name, row * ld + begin) : row * ld;
    };
    Int xRow = place("x_row", ldx), yRow = place("y_row", ldy);
    Num squares = rowSum(d, "squares", n, [&](Int col) {
      Value values = pieces.load("values", x, xRow, col);
      return [&d, values](Int e) {
        Num value = d.loadNum(values, {e});
        return value * value;
      };
    });
    Num factor = d.named("factor", d.number(1) / d.sqrt(squares / d.number(double(n)) +
                                                        d.number(kernel.number("eps"))));
    overPieces(d, n, [&](Int col) {
      Value values = pieces.load("values", x, xRow, col),
            scales = weights.load("scales", w, zero, col);
      d.unrolled("e", Pieces::size, [&](Int e) {
        d.store(d.loadNum(values, {e}) * factor * d.loadNum(scales, {e}), values, {e});
      });
      pieces.store(values, y, yRow, col);
    });
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
  Pieces pieces(d, n, isAligned(kernel)), weights(d, n);
  Int zero = d.constant(0);
  forEachNorm(d, kernel, [&](Int begin) {
    auto place = [&](StringRef name, int64_t ld) {
      return kernel.has("heads") ? d.named(name, row * ld + begin) : row * ld;
    };
    Int xRow = place("x_row", ldx), dyRow = place("dy_row", lddy), dxRow = place("dx_row", lddx);
    // dy·w of eight columns.
    auto gradients = [&](Int col) {
      Value all = pieces.load("gradients", dy, dyRow, col),
            scales = weights.load("scales", w, zero, col);
      d.unrolled("e", Pieces::size,
                 [&](Int e) { d.store(d.loadNum(all, {e}) * d.loadNum(scales, {e}), all, {e}); });
      return all;
    };
    Value products = d.variable("products", d.number(0));
    Num squares = rowSum(d, "squares", n, [&](Int col) {
      Value values = pieces.load("values", x, xRow, col), gradient = gradients(col);
      return [&d, values, gradient, products](Int e) {
        Num value = d.loadNum(values, {e});
        d.set(products, d.fma(d.loadNum(gradient, {e}), value, d.get(products)));
        return value * value;
      };
    });
    Num product = d.warpSum(d.get(products));
    Num factor = d.named("factor", d.number(1) / d.sqrt(squares / d.number(double(n)) +
                                                        d.number(kernel.number("eps"))));
    Num along = d.named("along_x", factor * factor * factor * (product / d.number(double(n))));
    overPieces(d, n, [&](Int col) {
      Value values = pieces.load("values", x, xRow, col), gradient = gradients(col), before;
      if (kernel.flag("accumulate"))
        before = pieces.load("before", dx, dxRow, col);
      d.unrolled("e", Pieces::size, [&](Int e) {
        Num value = factor * d.loadNum(gradient, {e}) - d.loadNum(values, {e}) * along;
        d.store(before ? d.loadNum(before, {e}) + value : value, values, {e});
      });
      pieces.store(values, dx, dxRow, col);
    });
  });
  return success();
}

const Family lorac::cuda::rmsNormForwardFamily = {
    "rms_norm_forward", "y = x / sqrt(mean(x²) + eps) · w", rowGrid, buildForward};
const Family lorac::cuda::rmsNormBackwardFamily = {
    "rms_norm_backward", "dx [+]= s·dy·w - x·s³·mean(dy·w·x), s = 1 / sqrt(mean(x²) + eps)",
    rowGrid, buildBackward};
