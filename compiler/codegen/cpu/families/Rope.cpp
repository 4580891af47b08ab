// y[i] = x[i]·c - x[i + d/2]·s, y[i + d/2] = x[i + d/2]·c + x[i]·s for each head; the inverse turns
// back (s negated).

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family ropeFamily;
}

static FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  if (intParam(params, "head_dim") % 2)
    return emitError(loc, "rope needs an even head_dim, got ") << intParam(params, "head_dim");
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 16};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  int64_t heads = kernel.intParam("heads"), dim = kernel.intParam("head_dim"), half = dim / 2;
  bool inverse = kernel.intParam("inverse");
  KernelBuilder k(kernel, builder, target,
                  {KernelBuilder::activation(context, kernel.intParam("ldx")),
                   KernelBuilder::dense({manyRows}, IntegerType::get(context, 32)),
                   KernelBuilder::activation(context, dim),
                   KernelBuilder::activation(context, kernel.intParam("ldy"))});
  Value x = k.buffer(0), positions = k.buffer(1), table = k.buffer(2), y = k.buffer(3);
  bool vectors = half % k.lanes() == 0;
  auto load = [&](Value memory, Value row, Value column) {
    return vectors ? k.vload(memory, {row, column}) : k.load(memory, {row, column});
  };
  auto store = [&](Value value, Value row, Value column) {
    vectors ? k.vstore(value, y, {row, column}) : k.store(value, y, {row, column});
  };
  forEachRow(k, kernel.getTile(), [&](Value m) {
    Value position = k.toIndex(k.load(positions, m));
    k.forLoop(k.index(0), k.index(heads), 1, [&](Value head) {
      Value first = k.mul(head, dim);
      k.forLoop(k.index(0), k.index(half), vectors ? k.lanes() : 1, [&](Value i) {
        Value low = k.add(first, i), high = k.add(low, half);
        Value cosine = load(table, position, i), sine = load(table, position, k.add(i, half));
        Value a = load(x, m, low), b = load(x, m, high);
        Value aSine = k.mulf(a, sine), bSine = k.mulf(b, sine);
        store(k.fma(a, cosine, inverse ? bSine : k.negf(bSine)), m, low);
        store(k.fma(b, cosine, inverse ? k.negf(aSine) : aSine), m, high);
      });
    });
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return 3 * rows * intParam(params, "heads") * intParam(params, "head_dim");
}

const Family lorac::cpu::ropeFamily = {
    "rope", "y[i] = x[i]·cos - x[i+d/2]·sin, y[i+d/2] = x[i+d/2]·cos + x[i]·sin", describe, build,
    flops};
