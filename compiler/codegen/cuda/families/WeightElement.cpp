#include "compiler/codegen/cuda/families/WeightElement.h"
#include "runtime/formats/Codebooks.h"
#include "runtime/formats/RowLayout.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

WeightElement::WeightElement(DeviceBuilder &d, Kernel &kernel, int64_t n, int64_t k)
    : d(d), format(*formats::parseWeightFormat(kernel.string("format"))), columns(k),
      np(roundUp(n, 128)), kp(roundUp(k, 64)) {
  values = d.next();
  if (format.block != 0)
    scales = d.next();
  if (format.kind == formats::WeightFormat::Q4_1)
    minima = d.next();
  if (format.doubleQuant)
    nested = d.next();
  if (format.isNf4OrFp4())
    tabulateCodes();
}

void WeightElement::tabulateCodes() {
  table = d.shared("code_values", 16, d.f32());
  const auto &codes =
      format.kind == formats::WeightFormat::Nf4 ? formats::nf4Codes : formats::fp4Codes;
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
  if (format.isNf4OrFp4())
    return d.loadNum(table, {codeAt()}) * flatBlockScale(row, col);
  Int block = d.named("block", col / 32 * np + row); // [tile][2][np]: two blocks of 32 a tile
  Num scale = d.loadNum(scales, {block});
  if (format.kind == formats::WeightFormat::Q8_0)
    return d.loadSigned(values, {row * kp + col}) * scale;
  Int code = codeAt();
  if (format.kind == formats::WeightFormat::Q4_0)
    return d.toNum(code - 8) * scale;
  return d.fma(d.toNum(code), scale, d.loadNum(minima, {block}));
}
