// A score of each of AdaLoRA's triplets from its importance (compiler/passes/AppendTriplets.cpp),
// and what becomes of triplets that are masked or died.

#include "compiler/codegen/cuda/families/TripletTable.h"
#include "runtime/abi.h"
#include "runtime/formats/Dynamic8.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family tripletScoresFamily, tripletZerosFamily;
}

static LogicalResult buildScores(Kernel &kernel) {
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(),
                  {kernel.argument("table", 0), kernel.argument("sensitivity", 1),
                   kernel.argument("uncertainty", 2), kernel.argument("scores", 3, true)});
  Value table = d.next(), sensitivity = d.next(), uncertainty = d.next(), scores = d.next();
  Triplets of = tripletsOfBlock(d, table);
  Type f64 = kernel.builder.getF64Type();
  auto score = [&](Int at) { return d.loadNum(sensitivity, {at}) * d.loadNum(uncertainty, {at}); };
  auto mean = [&](Num sum, Int count) { return d.toF32(sum / d.toF64(d.toNum(count))); };
  d.comment("the mean over a row of A: eight partial sums, then these in order");
  Value sums = d.shared("sums_of_rows", tripletThreads, f64);
  constexpr int64_t partials = 8, rows = tripletThreads / partials;
  Int partial = d.named("partial", d.thread() % partials),
      rowOfThread = d.named("row_of_thread", d.thread() / partials);
  d.loop("first_row", d.constant(0), of.rank, rows, [&](Int firstRow) {
    Int i = d.named("i", firstRow + rowOfThread);
    Value sum = d.variable("sum_of_a", d.number(0, f64));
    d.where(i < of.rank, [&] {
      Int row = d.named("row_begin", of.a + i * of.in);
      d.loop("col", partial, of.in, partials,
             [&](Int col) { d.set(sum, d.get(sum) + d.toF64(score(row + col))); });
    });
    d.store(d.get(sum), sums, {d.thread()});
    d.barrier();
    d.where(partial == 0 && i < of.rank, [&] {
      Value total = d.variable("total_of_a", d.number(0, f64));
      d.loop("p", 0, partials, 1,
             [&](Int p) { d.set(total, d.get(total) + d.loadNum(sums, {d.thread() + p})); });
      d.store(mean(d.get(total), of.in), scores, {of.first + i});
    });
    d.barrier();
  });
  sumColumns(
      d, of, [&](Int at, Int) { return d.toF64(score(at)); },
      [&](Int column, Num sum) {
        Num ofBoth = d.loadNum(scores, {of.first + column}) + mean(sum, of.out);
        d.store(score(of.e + column) + ofBoth, scores, {of.first + column});
      });
  return success();
}

// Where one region has a factor's numbers.
struct ZeroedRegion {
  lora::Storage storage;
  Value memory;
};

// Writes the number 0 over part of a factor, whose elements begin at `base` of whole regions;
// `own`: at so many of compact ones, or less than 0, where its states have 8 bits.
static void zeroPart(DeviceBuilder &d, const ZeroedRegion &region, Int base, Int own,
                     llvm::function_ref<void(llvm::function_ref<void(Int)>)> overPart) {
  using lora::Storage;
  const bool isCode = lora::isCode(region.storage);
  Int zero = d.constant(formats::dynamicZero(region.storage == Storage::DynamicSigned
                                                 ? formats::Dynamic8::Signed
                                                 : formats::Dynamic8::Unsigned));
  auto all = [&] {
    overPart([&](Int at) {
      if (isCode)
        d.store(zero, region.memory, {base + at});
      else
        d.store(d.number(0), region.memory,
                {region.storage == Storage::Compact ? own + at : base + at});
    });
  };
  if (region.storage == Storage::Floats)
    all();
  else
    d.where(isCode ? own < d.constant(0) : d.constant(-1) < own, all);
}

// All regions that a parameter has a place in, as many as the launch brings; the parameters first.
// Where some are of other storages (`storage`), the table `owns` says where factors lie in them.
static LogicalResult buildZero(Kernel &kernel) {
  const SmallVector<lora::Storage> storage = lora::KernelOp::storageOf(kernel.op.getParams());
  const bool hasOwns =
      llvm::any_of(storage, [](lora::Storage of) { return of != lora::Storage::Floats; });
  SmallVector<DeviceBuilder::Argument> arguments;
  auto add = [&](const std::string &name, bool written) {
    arguments.push_back(kernel.argument(name, unsigned(arguments.size()), written));
  };
  add("table", false), add("states", false);
  if (hasOwns)
    add("owns", false);
  for (size_t i = 0; i < storage.size(); ++i)
    add(i == 0 ? "params" : "region" + std::to_string(i), true);
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), tripletThreads,
                  kernel.compute(), arguments);
  Value table = d.next(), states = d.next(), owns = hasOwns ? d.next() : Value();
  SmallVector<ZeroedRegion> regions;
  for (lora::Storage of : storage)
    regions.push_back({of, d.next()});
  Triplets of = tripletsOfBlock(d, table);
  auto own = [&](StringRef name, int64_t place) {
    return hasOwns ? d.named(name, d.loadInt(owns, {d.blockX() * 3 + place})) : d.constant(0);
  };
  Int ownA = own("own_a", 0), ownB = own("own_b", 1), ownE = own("own_e", 2);
  d.loop("i", d.constant(0), of.rank, 1, [&](Int i) {
    Int state = d.named("state", d.loadInt(states, {of.first + i}));
    d.where(d.thread() == 0 && state < LORAC_TRIPLET_ALIVE,
            [&] { d.store(d.number(0), regions.front().memory, {of.e + i}); });
    d.where(state == LORAC_TRIPLET_DEAD, [&] {
      for (const ZeroedRegion &region : regions) {
        zeroPart(d, region, of.a, ownA, [&](llvm::function_ref<void(Int)> zero) {
          d.loop("col", d.thread(), of.in, tripletThreads, [&](Int col) { zero(i * of.in + col); });
        });
        zeroPart(d, region, of.b, ownB, [&](llvm::function_ref<void(Int)> zero) {
          d.loop("row", d.thread(), of.out, tripletThreads,
                 [&](Int row) { zero(row * of.rank + i); });
        });
        zeroPart(d, region, of.e, ownE, [&](llvm::function_ref<void(Int)> zero) {
          d.where(d.thread() == 0, [&] { zero(i); });
        });
      }
    });
  });
  return success();
}

const Family lorac::cuda::tripletScoresFamily = {
    "triplet_scores",
    "s(E_i) + mean of s over row i of A + mean of s over column i of B, s = Ibar·Ubar, a block a "
    "module",
    gridOfModules, buildScores};
const Family lorac::cuda::tripletZerosFamily = {
    "triplet_zeros", "E = 0 of masked triplets; A, B, E of dead ones, in every region",
    gridOfModules, buildZero};
