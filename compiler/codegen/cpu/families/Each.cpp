// An elementwise body over a table of spans (PlanSpan of the plan: offset, count, group, 0), of
// regions that hold a number for each element of each parameter. Scalars of the host come from a
// buffer: `uniform` of them from place `first` on, then `by_group` for each group. A tile is a
// span; what lies outside of it is not written.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family eachFamily;
}

using Values = KernelBuilder::Values;

static FailureOr<KernelShape> describe(Location, DictionaryAttr, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Rows, .tile = 1};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  int64_t regions = kernel.intParam("regions"), uniform = kernel.intParam("uniform"),
          byGroup = kernel.intParam("by_group"), first = kernel.intParam("first");
  ArrayRef<int64_t> writes = kernel.getParams().getAs<DenseI64ArrayAttr>("writes").asArrayRef();
  Block &body = kernel.getBody().front();
  if (failed(checkMapBody(body)))
    return failure();
  assert(int64_t(body.getNumArguments()) == regions + uniform + byGroup &&
         body.getTerminator()->getNumOperands() == writes.size() &&
         "the params count what the body takes and yields");

  const int64_t flat = manyRows << 16;
  SmallVector<MemRefType> buffers{KernelBuilder::dense({manyRows, 4}, builder.getI32Type())};
  buffers.append(regions + 1, KernelBuilder::dense({flat}, builder.getF32Type()));
  KernelBuilder k(kernel, builder, target, buffers);
  Value spans = k.buffer(0), scalars = k.buffer(1);
  Values uniforms;
  for (int64_t i = 0; i < uniform; ++i)
    uniforms.push_back(k.broadcast(k.load(scalars, k.index(first + i))));

  forEachRow(k, kernel.getTile(), [&](Value span) {
    auto field = [&](int64_t i) { return k.toIndex(k.load(spans, {span, k.index(i)})); };
    Value offset = field(0), count = field(1);
    Values ofSpan = uniforms;
    if (byGroup > 0) {
      Value begin = k.add(k.mul(field(2), byGroup), first + uniform);
      for (int64_t i = 0; i < byGroup; ++i)
        ofSpan.push_back(k.broadcast(k.load(scalars, k.add(begin, i))));
    }
    auto vector = [&](Value at, Value mask) { // all lanes where there is no mask
      Values arguments;
      for (int64_t i = 0; i < regions; ++i)
        arguments.push_back(mask ? k.vloadMasked(k.buffer(2 + i), at, mask)
                                 : k.vload(k.buffer(2 + i), at));
      arguments.append(ofSpan);
      for (auto [region, value] : llvm::zip(writes, vectoriseMapBody(k, body, arguments)))
        if (mask)
          k.vstoreMasked(value, k.buffer(2 + region), at, mask);
        else
          k.vstore(value, k.buffer(2 + region), at);
    };
    Value whole = k.mul(k.div(count, k.lanes()), k.lanes()), rest = k.sub(count, whole);
    k.forLoop(k.index(0), whole, k.lanes(), [&](Value i) { vector(k.add(offset, i), {}); });
    k.ifThen(k.less(k.index(0), rest), [&] { vector(k.add(offset, whole), k.mask(rest)); });
  });
  return success();
}

// The body's are not known from the params.
static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::eachFamily = {
    "each", "an elementwise function of regions and scalars, over a table of spans", describe,
    build, flops};
