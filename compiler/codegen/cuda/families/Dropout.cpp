// y [+]= x·keep/(1-p). Element e = row·cols + col is kept where word e%4 of Philox4x32-10 (Salmon
// et al. 2011) at counter {e/4 low, e/4 high, stream, micro}, key {seed, step} is at least p·2^32;
// a warp a row.

#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family dropoutFamily;
}

static LogicalResult build(Kernel &kernel) {
  int64_t cols = kernel.integer("cols"), ldx = kernel.integer("ldx"), ldy = kernel.integer("ldy");
  double p = kernel.number("p");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(), {kernel.argument("x", 0), kernel.argument("y", 1, true)});
  Value x = d.next(), y = d.next();
  Int row = warpRow(d);
  Int seed = d.stepInt("seed"), step = d.stepInt("step"), micro = d.stepInt("micro");
  overColumns(d, cols, [&](Int col) {
    Num value = d.named("value", d.loadNum(x, {row * ldx + col}));
    Bool keep = d.philoxAtLeast(row, cols, col, kernel.integer("stream"), micro, seed, step,
                                uint32_t(p * 4294967296.0));
    Num kept = d.named("kept", d.select(keep, value * (1.0 / (1.0 - p)), d.number(0)));
    d.store(kernel.flag("accumulate") ? d.loadNum(y, {row * ldy + col}) + kept : kept, y,
            {row * ldy + col});
  });
  return success();
}

const Family lorac::cuda::dropoutFamily = {"dropout",
                                           "y [+]= x·keep / (1 - p), keep drawn by Philox4x32-10 "
                                           "from (element, stream, micro, seed, step)",
                                           rowGrid, build};
