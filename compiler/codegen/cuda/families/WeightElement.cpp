#include "compiler/codegen/cuda/families/WeightElement.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

WeightElement::WeightElement(DeviceBuilder &d, Kernel &kernel, int64_t n, int64_t k)
    : d(d), format(*formats::parseWeightFormat(kernel.string("format"))), np(roundUp(n, 128)),
      kp(roundUp(k, 64)) {
  values = d.next();
  if (format.isGgmlBlocks())
    scales = d.next();
  if (format.kind == formats::WeightFormat::Q4_1)
    minima = d.next();
}

Num WeightElement::at(Int row, Int col) {
  if (!format.isGgmlBlocks())
    return d.loadNum(values, {row * kp + col});
  Int block = d.named("block", col / 32 * np + row); // [tile][2][np]: two blocks of 32 a tile
  Num scale = d.loadNum(scales, {block});
  if (format.kind == formats::WeightFormat::Q8_0)
    return d.loadSigned(values, {row * kp + col}) * scale;
  Int pair = d.loadInt(values, {(row * kp + col) / 2});
  Int code = d.named("code", d.select(col % 2 == 0, pair & 15, pair / 16));
  if (format.kind == formats::WeightFormat::Q4_0)
    return d.toNum(code - 8) * scale;
  return d.fma(d.toNum(code), scale, d.loadNum(minima, {block}));
}
