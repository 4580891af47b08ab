// An elementwise function: the body's scalar ops, repeated on vectors. Columns of the padding are
// computed too. Where a leading dimension is 0 the operand is one row for all.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"

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
  int64_t cols = kernel.intParam("cols"), ins = kernel.intParam("ins");
  ArrayRef<int64_t> lds = kernel.integers("lds");
  Block &body = kernel.getBody().front();
  if (failed(checkMapBody(body)))
    return failure();
  SmallVector<MemRefType> buffers;
  for (int64_t ld : lds)
    buffers.push_back(ld == 0 ? KernelBuilder::dense({cols}, builder.getF32Type())
                              : KernelBuilder::activation(kernel.getContext(), ld));
  KernelBuilder k(kernel, builder, target, buffers);
  forEachRow(k, kernel.getTile(), [&](Value m) {
    overColumns(k, cols, [&](Value column, int64_t live) {
      KernelBuilder::Values from;
      for (int64_t i = 0; i < ins; ++i)
        from.push_back(lds[i] == 0 ? loadLive(k, k.buffer(i), column, live)
                                   : k.vload(k.buffer(i), {m, column}));
      for (auto [i, value] : llvm::enumerate(vectoriseMapBody(k, body, from)))
        k.vstore(value, k.buffer(ins + i), {m, column});
    });
  });
  return success();
}

static int64_t flops(DictionaryAttr params, int64_t rows) {
  return rows * intParam(params, "cols");
}

const Family lorac::cpu::mapFamily = {"map", "an elementwise function of its operands", describe,
                                      build, flops};
