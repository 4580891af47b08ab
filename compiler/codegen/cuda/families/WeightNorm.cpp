// norm[i] = sqrt(Σk (W[i,k] + scale·Σr B[i,r]·A[r,k])²), in float32 whatever the compute type. A
// warp takes four rows, so that an element of A serves four; its lanes take columns side by side.

#include "compiler/codegen/cuda/families/Rows.h"
#include "compiler/codegen/cuda/families/WeightElement.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family weightNormFamily;
}

static constexpr int64_t rowsOfWarp = 4, rowsOfBlock = rowsOfWarp * rowsPerBlock;

static LogicalResult build(Kernel &kernel) {
  const int64_t n = kernel.integer("n"), k = kernel.integer("k");
  SmallVector<DeviceBuilder::Argument> arguments = kernel.weightArguments();
  arguments.append({kernel.argument("lora_A", 0), kernel.argument("lora_B", 1),
                    kernel.argument("norm", 2, true)});
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(), arguments, {"rank"});
  WeightElement w(d, kernel, n, k);
  Value a = d.next(), b = d.next(), norm = d.next();
  Int rank = d.nextScalar();
  Int first = d.named("first_row", d.blockX() * rowsOfBlock + d.warp() * rowsOfWarp);
  auto rowOf = [&](Int i) { return d.named("row", min(first + i, d.constant(n - 1))); };
  auto zeros = [&](StringRef name) {
    Value all = d.local(name, {rowsOfWarp}, d.f32());
    d.unrolled("i", rowsOfWarp, [&](Int i) { d.store(d.number(0), all, {i}); });
    return all;
  };

  Value squares = zeros("squares");
  overColumns(d, k, [&](Int col) {
    Value update = zeros("update");
    d.loop("r", d.constant(0), rank, 1, [&](Int r) {
      Num one = d.named("one", d.loadNum(a, {r * k + col}));
      d.unrolled("i", rowsOfWarp, [&](Int i) {
        d.store(d.fma(d.loadNum(b, {rowOf(i) * rank + r}), one, d.loadNum(update, {i})), update,
                {i});
      });
    });
    d.unrolled("i", rowsOfWarp, [&](Int i) {
      Num value = d.named("value", d.fma(d.loadNum(update, {i}), d.number(kernel.number("scale")),
                                         w.at(rowOf(i), col)));
      d.store(d.fma(value, value, d.loadNum(squares, {i})), squares, {i});
    });
  });
  d.unrolled("i", rowsOfWarp, [&](Int i) {
    Num all = d.named("all", d.warpSum(d.loadNum(squares, {i})));
    d.where(d.lane() == 0 && first + i < n, [&] { d.store(d.sqrt(all), norm, {first + i}); });
  });
  return success();
}

static Grid grid(DictionaryAttr params, const CudaTarget &, int64_t) {
  return {ceilDiv(intParam(params, "n"), rowsOfBlock), 1, 1};
}

const Family lorac::cuda::weightNormFamily = {
    "weight_norm", "norm[i] = sqrt(Σk (W[i, k] + scale·Σr lora_B[i, r]·lora_A[r, k])²)", grid,
    build};
