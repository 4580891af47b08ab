// norm = ‖G - I‖, G becomes scale/norm·(G - I), 0 where the norm is 0. I has no 1 where G's
// diagonal is 0. One block: r² numbers beside products of r²·in. The step's loss_scale multiplies G
// as it does the gradients of tokens: 1, or the power of two that f16 gradients are raised by.

#include "compiler/codegen/cuda/Families.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family orthogonalTermFamily;
}

static constexpr int64_t Threads = 256;

static LogicalResult build(Kernel &kernel) {
  int64_t r = kernel.integer("n");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), Threads,
                  kernel.compute(),
                  {kernel.argument("gram", 0, true), kernel.argument("norm", 1, true)});
  Value gram = d.next(), norm = d.next(), sums = d.shared("sums_of_warps", Threads / 32, d.f32());
  auto everyNumber = [&](llvm::function_ref<void(Int)> body) {
    d.loop("e", d.thread(), d.constant(r * r), Threads, body);
  };
  Value squares = d.variable("squares", d.number(0));
  everyNumber([&](Int e) {
    Num g = d.named("g", d.loadNum(gram, {e}));
    Bool isDiagonal = e / r == e % r;
    Num there = d.number(1);
    if (!kernel.has("whole"))
      there = d.select(g < d.number(0), d.number(1),
                       d.select(d.number(0) < g, d.number(1), d.number(0)));
    Num one = d.select(isDiagonal, there, d.number(0));
    Num off = d.named("off", g - one);
    d.store(off, gram, {e});
    d.set(squares, d.fma(off, off, d.get(squares)));
  });
  Num own = d.warpSum(d.get(squares));
  d.where(d.lane() == 0, [&] { d.store(own, sums, {d.warp()}); });
  d.barrier();
  Num all = d.loadNum(sums, {d.constant(0)});
  for (int64_t warp = 1; warp < Threads / 32; ++warp)
    all = all + d.loadNum(sums, {d.constant(warp)});
  Num length = d.named("length", d.sqrt(all));
  d.where(d.thread() == 0, [&] { d.store(length, norm, {d.constant(0)}); });
  Num scale = d.named("scale", d.stepNum("loss_scale") * kernel.number("scale"));
  Num factor = d.named("factor", d.select(d.number(0) < length, scale / length, d.number(0)));
  everyNumber([&](Int e) { d.store(d.loadNum(gram, {e}) * factor, gram, {e}); });
  return success();
}

const Family lorac::cuda::orthogonalTermFamily = {
    "orthogonal_term", "norm = ‖G - I‖, G = loss_scale·scale/norm·(G - I)",
    [](DictionaryAttr, const CudaTarget &, int64_t) { return Grid{1, 1, 1}; }, build};
