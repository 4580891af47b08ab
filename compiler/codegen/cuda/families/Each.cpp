// An elementwise body over a table of spans (PlanSpan of the plan: offset, count, group, 0), of
// regions that hold a number for each element of each parameter. A block takes a span. Scalars of
// the host come from a buffer: `uniform` of them from place `first` on, then `by_group` for each
// group.

#include "compiler/codegen/cuda/Families.h"
#include "compiler/codegen/cuda/families/MapBody.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family eachFamily;
}

static constexpr int64_t threads = 256;

// The body's name of its argument (a location that is a name), where C knows it as one.
static std::string nameOf(BlockArgument argument) {
  auto isPart = [](char c) { return llvm::isAlnum(c) || c == '_'; };
  if (auto named = dyn_cast<NameLoc>(argument.getLoc()))
    if (StringRef name = named.getName();
        !name.empty() && !llvm::isDigit(name[0]) && llvm::all_of(name, isPart))
      return name.str();
  return "x" + std::to_string(argument.getArgNumber());
}

static LogicalResult build(Kernel &kernel) {
  int64_t regions = kernel.integer("regions"), uniform = kernel.integer("uniform"),
          byGroup = kernel.integer("by_group"), first = kernel.integer("first");
  ArrayRef<int64_t> writes = kernel.op.getParams().getAs<DenseI64ArrayAttr>("writes").asArrayRef();
  Block &body = kernel.op.getBody().front();
  assert(int64_t(body.getNumArguments()) == regions + uniform + byGroup &&
         body.getTerminator()->getNumOperands() == writes.size() &&
         "the params count what the body takes and yields");
  SmallVector<DeviceBuilder::Argument> arguments{kernel.argument("spans", 0),
                                                 kernel.argument("scalars", 1)};
  for (int64_t i = 0; i < regions; ++i)
    arguments.push_back(kernel.argument(nameOf(body.getArgument(i)), unsigned(2 + i),
                                        llvm::is_contained(writes, i)));
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), threads,
                  kernel.compute(), arguments);
  Value spans = d.next(), scalars = d.next();
  SmallVector<Value> memories, ofSpan;
  for (int64_t i = 0; i < regions; ++i)
    memories.push_back(d.next());

  Int entry = d.named("entry", d.blockX() * 4);
  Int offset = d.named("offset", d.loadInt(spans, {entry})),
      end = d.named("end", offset + d.loadInt(spans, {entry + 1}));
  auto scalar = [&](int64_t argument, Int at) {
    ofSpan.push_back(d.named(nameOf(body.getArgument(argument)), d.loadNum(scalars, {at})));
  };
  for (int64_t i = 0; i < uniform; ++i)
    scalar(regions + i, d.constant(first + i));
  if (byGroup > 0) {
    Int begin = d.named("of_group", d.loadInt(spans, {entry + 2}) * byGroup + (first + uniform));
    for (int64_t i = 0; i < byGroup; ++i)
      scalar(regions + uniform + i, begin + i);
  }
  d.loop("i", offset + d.thread(), end, threads, [&](Int i) {
    SmallVector<Value> values;
    for (int64_t r = 0; r < regions; ++r)
      values.push_back(d.named(nameOf(body.getArgument(r)) + "_i", d.loadNum(memories[r], {i})));
    values.append(ofSpan);
    for (auto [region, value] : llvm::zip(writes, cloneMapBody(d, body, values)))
      d.store(value, memories[region], {i});
  });
  return success();
}

static Grid blockASpan(DictionaryAttr, const CudaTarget &, int64_t spans) { return {spans, 1, 1}; }

const Family lorac::cuda::eachFamily = {
    "each", "an elementwise function of regions and scalars, over a table of spans", blockASpan,
    build};
