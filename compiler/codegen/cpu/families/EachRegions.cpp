// Regions of codes go block by block through the worker's scratch: decoded before the body, encoded
// behind it (formats::quantizeDynamic has the formula and its order). Where there are numbers of
// rows, a span goes row by row.

#include "compiler/codegen/cpu/families/EachRegions.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "runtime/formats/Dynamic8.h"

#include <limits>

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;
using lora::Storage;

static constexpr int64_t block = formats::dynamicBlock, tableFloats = formats::dynamicTableFloats;

int64_t EachRegions::scratch(DictionaryAttr params) {
  return 4 * block * llvm::count_if(lora::KernelOp::storageOf(params), lora::isCode);
}

SmallVector<MemRefType> EachRegions::buffers(lora::KernelOp kernel) {
  Builder b(kernel.getContext());
  auto flat = [](Type element) { return KernelBuilder::dense({manyRows << 16}, element); };
  SmallVector<MemRefType> types;
  bool hasCodes = false, hasLines = false;
  for (Storage storage : lora::KernelOp::storageOf(kernel.getParams())) {
    hasLines |= lora::isOfLines(storage);
    if (lora::isCode(storage))
      types.push_back(flat(b.getI8Type())), hasCodes = true;
    types.push_back(flat(b.getF32Type()));
  }
  if (hasLines)
    types.push_back(Matrices::type(b.getI32Type()));
  if (hasCodes)
    types.push_back(KernelBuilder::dense({2 * tableFloats}, b.getF32Type()));
  return types;
}

EachRegions::EachRegions(KernelBuilder &k, lora::KernelOp kernel, unsigned first)
    : k(k), storage(lora::KernelOp::storageOf(kernel.getParams())) {
  ArrayRef<int64_t> writes = kernel.integers("writes");
  for (auto [region, stored] : llvm::enumerate(storage)) {
    if (!lora::isCode(stored)) {
      floats.push_back(k.buffer(first++));
      continue;
    }
    floats.push_back({});
    Value memory = k.buffer(first++), absmax = k.buffer(first++);
    codes.push_back({memory, absmax, k.scratchF32(4 * block * codes.size(), {block}),
                     stored == Storage::DynamicSigned ? 0 : tableFloats,
                     llvm::is_contained(writes, region)});
  }
  if (!codes.empty())
    table = k.buffer(first);
  if (llvm::any_of(storage, lora::isOfLines))
    matrices = k.buffer(first);
  assert(bool(matrices) + llvm::is_contained(storage, Storage::Compact) + !codes.empty() <= 1 &&
         "a span says one place of its own: of blocks, in compact regions, or its parameter");
  assert((!matrices ||
          llvm::all_of(writes, [&](int64_t of) { return storage[of] == Storage::Floats; })) &&
         "a map writes numbers of elements");
}

void EachRegions::over(Value offset, Value count, Value own,
                       llvm::function_ref<void(ArrayRef<EachPlace>, Value)> part) {
  if (matrices)
    return overRows(offset, count, own, part);
  auto places = [&](Value at) {
    SmallVector<EachPlace> all;
    for (auto [stored, memory] : llvm::zip(storage, floats))
      all.push_back({memory, stored == Storage::Compact ? own : at});
    return all;
  };
  if (codes.empty())
    return part(places(offset), count);
  k.forLoop(k.index(0), count, block, [&](Value begin) {
    Value at = k.add(offset, begin), live = k.min(k.index(block), k.sub(count, begin)),
          ofBlock = k.add(own, k.div(begin, block));
    SmallVector<EachPlace> all = places(at);
    const Codes *next = codes.begin();
    for (EachPlace &place : all)
      if (!place.memory)
        place = {next++->values, k.index(0)};
    for (const Codes &of : codes)
      decode(of, at, ofBlock, live);
    part(all, live);
    for (const Codes &of : codes)
      if (of.isWritten)
        encode(of, at, ofBlock, live);
  });
}

void EachRegions::overRows(Value offset, Value count, Value parameter,
                           llvm::function_ref<void(ArrayRef<EachPlace>, Value)> part) {
  const Matrices of(k, matrices, parameter);
  Value begin = k.sub(offset, of.offset), end = k.add(begin, count); // in the parameter
  auto rowOf = [&](Value element) {
    return arith::DivUIOp::create(k.builder(), k.location(), element, of.columns);
  };
  k.forLoop(rowOf(begin), k.add(rowOf(k.sub(end, 1)), 1), 1, [&](Value row) {
    Value ofRow = k.mul(row, of.columns);
    Value first = k.max(begin, ofRow), last = k.min(end, k.add(ofRow, of.columns));
    SmallVector<EachPlace> all;
    for (auto [stored, memory] : llvm::zip(storage, floats))
      all.push_back(placeInMatrix(k, stored, memory, of, parameter, k.add(of.offset, first), row,
                                  k.sub(first, ofRow)));
    part(all, k.sub(last, first));
  });
}

void EachRegions::decode(const Codes &of, Value at, Value ofBlock, Value live) {
  // What lies behind a short block is 0: encode looks for the largest of all.
  k.forLoop(k.index(0), k.index(block), k.lanes(),
            [&](Value i) { k.vstore(k.splatF32(0), of.values, i); });
  Value absmax = k.load(of.absmax, ofBlock);
  k.forLoop(k.index(0), live, 1, [&](Value i) {
    Value code = k.toIndexUnsigned(k.load(of.memory, k.add(at, i)));
    k.store(k.mulf(k.load(table, k.add(code, of.map)), absmax), of.values, i);
  });
}

void EachRegions::encode(const Codes &of, Value at, Value ofBlock, Value live) {
  using Predicate = arith::CmpFPredicate;
  auto largest = k.forLoop(
      k.index(0), k.index(block), k.lanes(), {k.splatF32(0)}, [&](Value i, ValueRange before) {
        Value size = math::AbsFOp::create(k.builder(), k.location(), k.vload(of.values, i));
        return KernelBuilder::Values{k.maxf(size, before[0])};
      });
  Value absmax = k.reduceMax(largest[0]), inverse = k.divf(k.constF32(1), absmax);
  Value isUsable =
      k.cmpf(Predicate::OLT, inverse, k.constF32(std::numeric_limits<double>::infinity()));
  k.store(k.select(isUsable, absmax, k.constF32(0)), of.absmax, ofBlock);
  k.forLoop(k.index(0), live, 1, [&](Value i) {
    Value x = k.mulf(k.load(of.values, i), inverse);
    Value bounded = k.minf(k.maxf(x, k.constF32(-1)), k.constF32(1));
    Value half = k.mulf(k.addf(bounded, k.constF32(1)), k.constF32(0.5));
    Value point = k.addf(k.mulf(half, k.constF32(65535)), k.constF32(0.5));
    // How many codes end at or before the point, whose fraction says nothing: ends are whole.
    Value code = k.index(0);
    for (int64_t step = block / 2; step > 0; step /= 2) {
      Value end = k.load(table, k.add(code, of.map + block + step - 1));
      code = k.select(k.cmpf(Predicate::OLE, end, point), k.add(code, step), code);
    }
    code = k.select(isUsable, code, k.index(0));
    k.store(k.fromIndex(code, k.i8()), of.memory, k.add(at, i));
  });
}
