// y[j] [+]= Σm x[m,j]: the gradient of a row that a map reads for all tokens. A block takes 32
// columns, a warp each eighth row of them; the warps' sums are added in their order.

#include "compiler/codegen/cuda/Families.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family sumRowsFamily;
}

static constexpr int64_t threads = 256, warps = threads / 32;

static LogicalResult build(Kernel &kernel) {
  const int64_t cols = kernel.integer("cols"), ldx = kernel.integer("ldx");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), {kernel.argument("x", 0), kernel.argument("y", 1, true)});
  Value x = d.next(), y = d.next(), sums = d.shared("sums_of_warps", threads, d.f32());
  Int lane = d.lane(), col = d.named("col", d.blockX() * 32 + lane);
  Value sum = d.variable("sum", d.number(0));
  d.loop("row", d.warp(), d.rows(), warps, [&](Int row) {
    d.set(sum, d.get(sum) + d.loadWhere("one", col < cols, x, {row * ldx + col}));
  });
  d.store(d.get(sum), sums, {d.thread()});
  d.barrier();
  d.where(d.thread() < 32 && col < cols, [&] {
    Num all = d.loadNum(sums, {lane});
    for (int64_t warp = 1; warp < warps; ++warp)
      all = d.named("all", all + d.loadNum(sums, {lane + warp * 32}));
    d.store(kernel.flag("accumulate") ? d.loadNum(y, {col}) + all : all, y, {col});
  });
  return success();
}

static Grid grid(DictionaryAttr params, const CudaTarget &, int64_t) {
  return {ceilDiv(intParam(params, "cols"), 32), 1, 1};
}

const Family lorac::cuda::sumRowsFamily = {"sum_rows", "y[j] [+]= Σm x[m, j]", grid, build};
