#include "compiler/codegen/cuda/families/WeightElement.h"
#include "compiler/codegen/cuda/families/FrozenTile.h"
#include "runtime/formats/RowLayout.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

WeightElement::WeightElement(DeviceBuilder &d, Kernel &kernel, int64_t n, int64_t k)
    : d(d), format(*formats::parseWeightFormat(kernel.string("format"))), columns(k),
      np(roundUp(n, 128)), kp(roundUp(k, 64)) {
  const FrozenTile::Arguments parts = FrozenTile::takeArguments(d, format);
  values = parts.codes, scales = parts.scales, minima = parts.minima, nested = parts.nested;
  if (format.kind == formats::WeightFormat::Codebook)
    tabulateCodes();
}

void WeightElement::tabulateCodes() {
  table = d.shared("code_values", 16, d.f32());
  const float (&codes)[16] = formats::codebooks[size_t(format.codebook)].values;
  d.where(d.thread() < 16, [&] {
    Num value = d.number(codes[15]);
    for (int code = 14; code >= 0; --code)
      value = d.select(d.thread() == code, d.number(codes[code]), value);
    d.store(value, table, {d.thread()});
  });
  d.barrier();
}

// Blocks run over the flat matrix; entries lie by tiles of 64 columns, those blocks of a row's part
// side by side that it touches.
Num WeightElement::flatBlockScale(Int row, Int col) {
  const int64_t perTile = formats::scalesPerTile(format, columns);
  Int block = d.named("block", (row * columns + col) / format.block), place = col / 64 * perTile;
  if (perTile > 1)
    place = place + (block - (row * columns + col / 64 * 64) / format.block);
  place = d.named("place", place * np + row);
  if (!format.doubleQuant)
    return d.loadNum(scales, {place});
  Num absmax = d.loadNum(nested, {d.loadInt(scales, {place})}),
      second = d.loadNum(nested, {block / 256 + 257});
  return absmax * second + d.loadNum(nested, {d.constant(256)});
}

Num WeightElement::at(Int row, Int col) {
  if (format.block == 0)
    return d.loadNum(values, {row * kp + col});
  auto codeAt = [&] {
    Int pair = d.loadInt(values, {(row * kp + col) / 2});
    return d.named("code", d.select(col % 2 == 0, pair & 15, pair / 16));
  };
  if (format.kind == formats::WeightFormat::Codebook)
    return d.loadNum(table, {codeAt()}) * flatBlockScale(row, col);
  Int block = d.named("block", col / format.block * np + row); // [tile][64 / block][np]
  Num scale = d.loadNum(scales, {block});
  Num code = format.bits == 8 ? d.loadSigned(values, {row * kp + col})
             : format.minima  ? d.toNum(codeAt())
                              : d.toNum(codeAt() - 8);
  return format.minima ? d.fma(code, scale, d.loadNum(minima, {block})) : code * scale;
}
