// Rotary position embedding, halves rotated (docs/dialect.md, rope); a warp a row.

#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family ropeFamily;
}

static LogicalResult build(Kernel &kernel) {
  int64_t heads = kernel.integer("heads"), headDim = kernel.integer("head_dim"), half = headDim / 2,
          ldx = kernel.integer("ldx"), ldy = kernel.integer("ldy");
  DeviceBuilder::Argument x = kernel.argument("x", 0, true); // y may be x
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(),
                  {x, kernel.argument("positions", 1), kernel.argument("table", 2),
                   kernel.argument("y", 3, true)});
  Value from = d.next(), positions = d.next(), table = d.next(), to = d.next();
  Int row = warpRow(d);
  Int angles = d.named("angles", d.loadInt(positions, {row}) * headDim);
  d.loop("pair", d.lane(), d.constant(heads * half), 32, [&](Int pair) {
    Int i = d.named("i", pair % half);
    Int first = d.named("first", pair / half * headDim + i);
    Num cosine = d.named("cosine", d.loadNum(table, {angles + i})),
        sine = d.named("sine", d.loadNum(table, {angles + half + i}));
    Num low = d.named("low", d.loadNum(from, {row * ldx + first})),
        high = d.named("high", d.loadNum(from, {row * ldx + first + half}));
    bool inverse = kernel.flag("inverse");
    Num across = low * sine, back = high * sine;
    d.store(inverse ? low * cosine + back : low * cosine - back, to, {row * ldy + first});
    d.store(inverse ? high * cosine - across : high * cosine + across, to,
            {row * ldy + first + half});
  });
  return success();
}

const Family lorac::cuda::ropeFamily = {
    "rope", "y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin, for each head",
    rowGrid, build};
