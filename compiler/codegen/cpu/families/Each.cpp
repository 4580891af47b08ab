// An elementwise body over a table of spans (PlanSpan of the plan: offset, count, group, own
// place), of regions that hold a number for each element of each parameter (EachRegions: in which
// storage). Scalars of the host come from a buffer: `uniform` of them, then `by_group` for each
// group; the buffer is there where there are any. What programs write comes from one buffer for
// each place of `ones`. A tile is a span; what lies outside of it is not written.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/Columns.h"
#include "compiler/codegen/cpu/families/EachRegions.h"
#include "compiler/codegen/cpu/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family eachFamily;
}

using Values = KernelBuilder::Values;

static FailureOr<KernelShape> describe(Location, DictionaryAttr params, const CpuTarget &) {
  return KernelShape{
      .space = lora::TileSpace::Rows, .tile = 1, .scratch = EachRegions::scratch(params)};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  int64_t regions = kernel.intParam("regions"), uniform = kernel.intParam("uniform"),
          byGroup = kernel.intParam("by_group");
  ArrayRef<int64_t> ones = kernel.integers("ones"), writes = kernel.integers("writes");
  Block &body = kernel.getBody().front();
  if (failed(checkMapBody(body)))
    return failure();
  assert(int64_t(body.getNumArguments()) == regions + int64_t(ones.size()) + uniform + byGroup &&
         body.getTerminator()->getNumOperands() == writes.size() &&
         "the params count what the body takes and yields");

  const int64_t flat = manyRows << 16, hasScalars = uniform + byGroup > 0;
  SmallVector<MemRefType> buffers{KernelBuilder::dense({manyRows, 4}, builder.getI32Type())};
  buffers.append(hasScalars + ones.size(), KernelBuilder::dense({flat}, builder.getF32Type()));
  buffers.append(EachRegions::buffers(kernel));
  KernelBuilder k(kernel, builder, target, buffers);
  Value spans = k.buffer(0), scalars = k.buffer(1);
  const int64_t firstOne = 1 + hasScalars;
  EachRegions stored(k, kernel, unsigned(firstOne + int64_t(ones.size())));
  Values uniforms;
  auto add = [&](Values &to, Value memory, Value at) {
    to.push_back(k.broadcast(k.load(memory, at)));
  };
  for (auto [i, place] : llvm::enumerate(ones))
    add(uniforms, k.buffer(firstOne + i), k.index(place));
  for (int64_t i = 0; i < uniform; ++i)
    add(uniforms, scalars, k.index(i));

  forEachRow(k, kernel.getTile(), [&](Value span) {
    auto field = [&](int64_t i) { return k.toIndex(k.load(spans, {span, k.index(i)})); };
    Value offset = field(0), count = field(1);
    Values ofSpan = uniforms;
    if (byGroup > 0) {
      Value begin = k.add(k.mul(field(2), byGroup), uniform);
      for (int64_t i = 0; i < byGroup; ++i)
        add(ofSpan, scalars, k.add(begin, i));
    }
    stored.over(offset, count, field(3), [&](ArrayRef<EachPlace> places, Value elements) {
      auto vector = [&](Value i, Value mask) { // all lanes where there is no mask
        Values arguments;
        for (const EachPlace &of : places)
          arguments.push_back(loadPlace(k, of, i, mask));
        arguments.append(ofSpan);
        for (auto [region, value] : llvm::zip(writes, vectoriseMapBody(k, body, arguments))) {
          const EachPlace &to = places[region];
          if (mask)
            k.vstoreMasked(value, to.memory, k.add(to.from, i), mask);
          else
            k.vstore(value, to.memory, k.add(to.from, i));
        }
      };
      Value whole = k.mul(k.div(elements, k.lanes()), k.lanes()), rest = k.sub(elements, whole);
      k.forLoop(k.index(0), whole, k.lanes(), [&](Value i) { vector(i, {}); });
      k.ifThen(k.less(k.index(0), rest), [&] { vector(whole, k.mask(rest)); });
    });
  });
  return success();
}

// The body's are not known from the params.
static int64_t flops(DictionaryAttr, int64_t) { return 0; }

const Family lorac::cpu::eachFamily = {
    "each", "an elementwise function of regions and scalars, over a table of spans", describe,
    build, flops};
