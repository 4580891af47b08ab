// norm = ‖G - I‖, G becomes scale/norm·(G - I), 0 where the norm is 0. I has no 1 where G's
// diagonal is 0. One tile: r² numbers beside products of r²·in.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/KernelBuilder.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family orthogonalTermFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{lora::TileSpace::Const, 1, 1};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  Type f32 = Float32Type::get(kernel.getContext());
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::rowsOf(kernel, "n"), KernelBuilder::dense({1}, f32)});
  const Matrix gram = k.matrix(0, "n");
  Value norm = k.buffer(1), zero = k.constF32(0);
  Value first = k.index(0), last = k.param("n");
  k.forLoop(k.begin(), k.end(), 1, [&](Value) {
    auto squares = k.forLoop(first, last, 1, {zero}, [&](Value i, ValueRange rowSums) {
      return k.forLoop(first, last, 1, rowSums, [&](Value j, ValueRange sums) {
        Value g = k.load(gram.memory, k.at(gram, i, j));
        Value isThere = k.equal(i, j);
        if (!kernel.hasParam("whole"))
          isThere = k.andi(isThere, k.cmpf(arith::CmpFPredicate::UNE, g, zero));
        Value off = k.subf(g, k.select(isThere, k.constF32(1), zero));
        k.store(off, gram.memory, k.at(gram, i, j));
        return KernelBuilder::Values{k.fma(off, off, sums[0])};
      });
    });
    Value length = k.sqrtf(squares[0]);
    k.store(length, norm, first);
    Value factor = k.select(k.cmpf(arith::CmpFPredicate::OEQ, length, zero), zero,
                            k.divf(k.constF32(kernel.floatParam("scale")), length));
    k.forLoop(first, last, 1, [&](Value i) {
      k.forLoop(first, last, 1, [&](Value j) {
        const KernelBuilder::Values at = k.at(gram, i, j);
        k.store(k.mulf(k.load(gram.memory, at), factor), gram.memory, at);
      });
    });
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t) {
  if (!params.contains("n"))
    return 0; // the launch says it
  return 4 * intParam(params, "n") * intParam(params, "n");
}

const Family lorac::cpu::orthogonalTermFamily = {
    "orthogonal_term", "norm = ‖G - I‖, G = scale/norm·(G - I)", describe, build, flops};
