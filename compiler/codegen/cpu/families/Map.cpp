// An elementwise function: the body's scalar ops, repeated on vectors. Columns of the padding are
// computed too.

#include "compiler/codegen/cpu/Elementwise.h"
#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family mapFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 16};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  Elementwise body(kernel, 0);
  if (failed(body.check()))
    return failure();
  KernelBuilder k(kernel, builder, target, body.buffers());
  forEachRow(k, kernel.getTile(), [&](Value m) {
    overColumns(k, kernel.intParam("cols"),
                [&](Value column, int64_t) { body.build(k, m, column); });
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return rows * intParam(params, "cols");
}

const Family lorac::cpu::mapFamily = {"map", "an elementwise function of its operands", describe,
                                      build, flops};
