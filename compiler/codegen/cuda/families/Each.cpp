// An elementwise body over a table of spans (PlanSpan of the plan: offset, count, group, own
// place), of regions that hold a number for each element of each parameter (EachRegions: in which
// storage). A block takes a span. Scalars of the host come from a buffer: `uniform` of them, then
// `by_group` for each group; the buffer is there where there are any. What programs write comes
// from one buffer for each place of `ones`.

#include "compiler/codegen/cuda/families/EachRegions.h"
#include "compiler/codegen/cuda/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family eachFamily;
}

static LogicalResult build(Kernel &kernel) {
  int64_t regions = kernel.integer("regions"), uniform = kernel.integer("uniform"),
          byGroup = kernel.integer("by_group");
  ArrayRef<int64_t> ones = kernel.op.integers("ones"), writes = kernel.op.integers("writes");
  Block &body = kernel.op.getBody().front();
  assert(int64_t(body.getNumArguments()) == regions + int64_t(ones.size()) + uniform + byGroup &&
         body.getTerminator()->getNumOperands() == writes.size() &&
         "the params count what the body takes and yields");
  const bool hasScalars = uniform + byGroup > 0;
  SmallVector<DeviceBuilder::Argument> arguments;
  auto add = [&](StringRef name, bool written = false) {
    arguments.push_back(kernel.argument(name, unsigned(arguments.size()), written));
  };
  add("spans");
  if (hasScalars)
    add("scalars");
  for (size_t i = 0; i < ones.size(); ++i)
    add("one");
  SmallVector<std::string> names;
  for (int64_t i = 0; i < regions; ++i)
    names.push_back(nameOf(body.getArgument(i)));
  for (const EachArgument &argument : EachRegions::arguments(kernel.op, names))
    add(argument.name, argument.written);
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), eachThreads,
                  kernel.compute(), arguments);
  Value spans = d.next(), scalars = hasScalars ? d.next() : Value();

  SmallVector<Value> ofSpan;
  auto load = [&](Value memory, Int at) {
    BlockArgument argument = body.getArgument(unsigned(regions) + ofSpan.size());
    ofSpan.push_back(d.named(nameOf(argument), d.loadNum(memory, {at})));
  };
  Int entry = d.named("entry", d.blockX() * 4);
  Int offset = d.named("offset", d.loadInt(spans, {entry})),
      end = d.named("end", offset + d.loadInt(spans, {entry + 1}));
  for (int64_t place : ones)
    load(d.next(), d.constant(place));
  EachRegions stored(d, kernel.op, names);
  for (int64_t i = 0; i < uniform; ++i)
    load(scalars, d.constant(i));
  if (byGroup > 0) {
    Int begin = d.named("of_group", d.loadInt(spans, {entry + 2}) * byGroup + uniform);
    for (int64_t i = 0; i < byGroup; ++i)
      load(scalars, begin + i);
  }
  auto own = [&] { return d.named("own", d.loadInt(spans, {entry + 3})); };
  stored.over(offset, end, own, [&](ArrayRef<Value> values) {
    SmallVector<Value> arguments(values);
    arguments.append(ofSpan);
    return cloneMapBody(d, body, arguments);
  });
  return success();
}

static Grid blockASpan(DictionaryAttr, const CudaTarget &, int64_t spans) { return {spans, 1, 1}; }

const Family lorac::cuda::eachFamily = {
    "each", "an elementwise function of regions and scalars, over a table of spans", blockASpan,
    build};
