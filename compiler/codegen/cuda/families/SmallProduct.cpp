#include "compiler/codegen/cuda/families/SmallProduct.h"

using namespace mlir;
using namespace lorac::cuda;

BlockSum::BlockSum(DeviceBuilder &d, int64_t rows, int64_t cols)
    : d(d), rows(rows), cols(cols), across(rows / 4 * down + (cols == 16 ? 16 : 24)),
      ofWarp(cols / 8 * across), sums(d.shared("sums_of_warps", productWarps * ofWarp, d.f32())) {}

void BlockSum::put(Value fragments) {
  Int mine =
      d.named("sums_of_lane", d.warp() * ofWarp + d.lane() * 2 + d.lane() / 16 * (down - 32));
  d.unrolled("i", rows / 16, [&](Int i) {
    d.unrolled("j", cols / 8, [&](Int j) {
      for (int64_t half = 0; half < 2; ++half)
        d.copy(fragments, {i, j, d.constant(half * 2)}, sums,
               {mine + j * across + (i * 4 + half * 2) * down}, 8);
    });
  });
}

void BlockSum::each(llvm::function_ref<void(Int)> body) {
  d.barrier();
  d.loop("e", d.thread(), d.constant(rows * cols), productThreads, body);
}

Num BlockSum::at(Int row, Int col) {
  Int place = d.named("sum_place", col / 8 * across + row / 4 * down + row % 4 * 8 + col % 8);
  Num sum = d.loadNum(sums, {place});
  for (int64_t warp = 1; warp < productWarps; ++warp)
    sum = sum + d.loadNum(sums, {place + warp * ofWarp});
  return d.named("sum", sum);
}

bool lorac::cuda::paramsAligned(Kernel &kernel) {
  for (auto param : kernel.op->getParentOfType<ModuleOp>().getOps<lora::ParamOp>())
    if (auto offset = param->getAttrOfType<IntegerAttr>("offset");
        offset && offset.getInt() % 4 != 0)
      return false;
  return true;
}
bool lorac::cuda::rowsAligned(Kernel &kernel, unsigned buffer) {
  return !kernel.element(buffer).isF32() || paramsAligned(kernel);
}

void lorac::cuda::storeSum(Kernel &kernel, DeviceBuilder &d, Value c, Int place, Num sum) {
  Num scaled = sum * kernel.number("scale");
  d.store(kernel.flag("accumulate") ? d.loadNum(c, {place}) + scaled : scaled, c, {place});
}

Value lorac::cuda::zeroSums(DeviceBuilder &d, int64_t across, int64_t down) {
  Value sums = d.local("sums", {across, down, 4}, d.f32());
  d.unrolled("i", across, [&](Int i) {
    d.unrolled("j", down, [&](Int j) {
      d.unrolled("e", 4, [&](Int e) { d.store(d.number(0), sums, {i, j, e}); });
    });
  });
  return sums;
}

void lorac::cuda::walkDepth(DeviceBuilder &d, Int depth, int64_t size, int64_t pieces,
                            llvm::function_ref<Operands(Int deep)> load,
                            llvm::function_ref<void(Operands)> multiply) {
  d.comment("this warp's parts of the depth");
  d.loop("deep", d.warp() * (size * pieces), depth, productWarps * size * pieces, [&](Int deep) {
    SmallVector<Operands> loaded;
    for (int64_t piece = 0; piece < pieces; ++piece)
      loaded.push_back(load(deep + piece * size));
    for (Operands operands : loaded)
      multiply(operands);
  });
}
