// formats::quantizeDynamic has the formula of codes and its order.

#include "compiler/codegen/cuda/families/EachRegions.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "runtime/formats/StateLayout.h"

#include <limits>

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;
using lora::Storage;

static constexpr int64_t warps = eachThreads / 32;

std::vector<EachArgument> EachRegions::arguments(lora::KernelOp kernel,
                                                 ArrayRef<std::string> names) {
  std::vector<EachArgument> all;
  const SmallVector<Storage> storage = lora::KernelOp::storageOf(kernel.getParams());
  for (auto [region, name] : llvm::enumerate(names)) {
    const bool written = llvm::is_contained(kernel.integers("writes"), int64_t(region));
    all.push_back({name, written});
    if (lora::isCode(storage[region]))
      all.push_back({name + formats::absmaxSuffix, written});
  }
  if (llvm::any_of(storage, lora::isCode))
    all.push_back({"maps", false});
  if (llvm::any_of(storage, lora::isOfLines))
    all.push_back({"matrices", false});
  return all;
}

EachRegions::EachRegions(DeviceBuilder &d, lora::KernelOp kernel, ArrayRef<std::string> names)
    : d(d), writes(kernel.integers("writes")) {
  bool hasCodes = false, hasLines = false;
  for (auto [name, storage] : llvm::zip(names, lora::KernelOp::storageOf(kernel.getParams()))) {
    Value memory = d.next();
    const bool isCode = lora::isCode(storage);
    regions.push_back({name, storage, memory, isCode ? d.next() : Value()});
    hasCodes |= isCode, hasLines |= lora::isOfLines(storage);
  }
  if (hasCodes)
    table = d.next();
  if (hasLines)
    matrices = d.next();
}

void EachRegions::over(Int offset, Int end, llvm::function_ref<Int()> own, Body body) {
  if (table)
    return overBlocks(offset, end, own(), body);
  const bool isCompact = llvm::any_of(
      regions, [](const Region &region) { return region.storage == Storage::Compact; });
  Int shift = isCompact ? d.named("to_compact", own() - offset) : d.constant(0);
  Matrix of{};
  if (matrices)
    of = matrixOf(d, matrices, own());
  d.loop("i", offset + d.thread(), end, eachThreads, [&](Int i) {
    Int row = i, column = i;
    if (matrices) {
      Int element = d.named("element", i - of.offset);
      row = d.named("row", element / of.columns);
      column = d.named("column", element - row * of.columns);
    }
    auto place = [&](const Region &region) {
      if (matrices)
        return placeInMatrix(region.storage, of, i, row, column);
      return region.storage == Storage::Compact ? i + shift : i;
    };
    SmallVector<Value> values;
    for (const Region &region : regions)
      values.push_back(d.named(region.name + "_i", d.loadNum(region.memory, {place(region)})));
    for (auto [region, value] : llvm::zip(writes, body(values)))
      d.store(value, regions[region].memory, {place(regions[region])});
  });
}

void EachRegions::overBlocks(Int offset, Int end, Int own, Body body) {
  const int64_t written =
      llvm::count_if(writes, [&](int64_t region) { return regions[region].isCode(); });
  Value largest = written > 0 ? d.shared("largest_of_warps", warps * written, d.f32()) : Value();
  d.loop("first", offset, end, eachThreads, [&](Int first) {
    Int i = d.named("i", first + d.thread());
    Bool isThere = d.named("is_there", i < end);
    Int block = d.named("block", own + (first - offset) / eachThreads);
    SmallVector<Value> values;
    for (const Region &region : regions) {
      const std::string name = region.name + "_i";
      if (!region.isCode()) {
        values.push_back(d.loadWhere(name, isThere, region.memory, {i}));
        continue;
      }
      Int code = d.loadIntWhere(region.name + "_code", isThere, region.memory, {i});
      values.push_back(d.named(name, d.loadNum(table, {code + region.map()}) *
                                         d.loadNum(region.absmax, {block})));
    }
    SmallVector<Value> results = body(values);
    SmallVector<std::pair<const Region *, Num>> codes;
    d.where(isThere, [&] {
      for (auto [region, value] : llvm::zip(writes, results))
        if (!regions[region].isCode())
          d.store(value, regions[region].memory, {i});
    });
    for (auto [region, value] : llvm::zip(writes, results))
      if (regions[region].isCode())
        codes.push_back({&regions[region], Num{&d, value}});
    if (codes.empty())
      return;

    for (auto [k, of] : llvm::enumerate(codes)) {
      Num size = {&d, math::AbsFOp::create(d.builder(), d.location(), of.second.v)};
      Num ofWarp = d.warpMax(d.named("size", d.select(isThere, size, d.number(0))));
      d.where(d.lane() == 0, [&] { d.store(ofWarp, largest, {d.warp() + int64_t(k) * warps}); });
    }
    d.barrier();
    for (auto [k, of] : llvm::enumerate(codes)) {
      auto [region, value] = of;
      Num absmax = d.loadNum(largest, {d.constant(int64_t(k) * warps)});
      for (int64_t warp = 1; warp < warps; ++warp)
        absmax = max(absmax, d.loadNum(largest, {d.constant(int64_t(k) * warps + warp)}));
      absmax = d.named("absmax", absmax);
      Num inverse = d.named("inverse", d.number(1) / absmax);
      Bool isZero = d.named("is_zero", d.number(std::numeric_limits<float>::max()) < inverse);
      d.where(d.thread() == 0,
              [&] { d.store(d.select(isZero, d.number(0), absmax), region->absmax, {block}); });
      d.where(isThere, [&] {
        Num bounded = min(max(value * inverse, d.number(-1)), d.number(1));
        Num point = d.named("point", (bounded + d.number(1)) * 0.5 * 65535.0 + d.number(0.5));
        d.store(d.select(isZero, d.constant(0), codeOf(*region, point)), region->memory, {i});
      });
    }
    d.barrier();
  });
}

// How many codes end at or before the point, whose fraction says nothing: ends are whole.
Int EachRegions::codeOf(const Region &region, Num point) {
  Int code = d.constant(0);
  for (int64_t step = formats::dynamicBlock / 2; step > 0; step /= 2) {
    Num ending =
        d.named("end_of_code",
                d.loadNum(table, {code + (region.map() + formats::dynamicBlock + step - 1)}));
    code = d.named("code", d.select(point < ending, code, code + step));
  }
  return code;
}
