#include "compiler/codegen/cuda/families/FrozenTile.h"
#include "runtime/formats/Codebooks.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;
using formats::WeightFormat;

static int64_t scaleBytes(const WeightFormat &format) {
  return traits(partsOf(format).list[1].element).bytes;
}

FrozenTile::Arguments FrozenTile::takeArguments(DeviceBuilder &d, const WeightFormat &format) {
  Arguments weight;
  for (const formats::FormatPart &part : partsOf(format))
    switch (part.role) {
    case formats::FormatPart::Values:
    case formats::FormatPart::Codes:
      weight.codes = d.next();
      break;
    case formats::FormatPart::Scales:
      weight.scales = d.next();
      break;
    case formats::FormatPart::Minima:
      weight.minima = d.next();
      break;
    case formats::FormatPart::Nested:
      weight.nested = d.next();
      break;
    }
  return weight;
}

FrozenTile::FrozenTile(DeviceBuilder &d, const WeightFormat &format, const Shape &shape,
                       ArrayRef<Arguments> weights)
    : d(d), format(format), shape(shape), weights(weights), kp(roundUp(shape.k, 64)),
      np(d.constant(0)), lastBlock(np), firstCol(np), codesTo(np), decodeRow(np), decodeGroup(np),
      decodeFrom(np), decodeTo{np, np}, offset(d.number(0)) {
  int64_t elements = (decodes() ? shape.buffers : shape.stages) * 64 * shape.cols;
  if (shape.warpgroups)
    decoded = SwizzledTile(d, "w_tile", elements, 64, 1024, shape.backward ? 64 : 0);
  else
    decoded = SwizzledTile(d, "w_tile", elements, shape.backward ? shape.cols : 64);
  if (decodes())
    placeDecoding();
}

int64_t FrozenTile::scalesPerTile() const { return formats::scalesPerTile(format, shape.k); }
// Whether a block may begin at any column of a tile.
bool FrozenTile::straddles() const {
  return format.kind == WeightFormat::Codebook &&
         shape.k % std::min<int64_t>(format.block, 64) != 0;
}
int64_t FrozenTile::scaleRows() const {
  return scalesPerTile() * (shape.backward ? shape.cols / 64 : 1);
}
int64_t FrozenTile::scaleCount() const { return shape.backward ? 64 : shape.cols; }

int64_t FrozenTile::sharedBytes(const WeightFormat &format, const Shape &shape) {
  if (format.block == 0)
    return shape.stages * shape.cols * 128;
  int64_t scales = std::max<int64_t>(3, 64 / format.block);
  int64_t perTile =
      scales * (shape.backward ? shape.cols / 64 : 1) * (shape.backward ? 64 : shape.cols);
  return shape.stages * (format.bits * 8 * shape.cols +
                         perTile * scaleBytes(format) * (format.minima ? 2 : 1)) +
         shape.buffers * shape.cols * 128 + 2048;
}

void FrozenTile::placeDecoding() {
  codeStages = d.shared("code_stages", shape.stages * codeBytes(), d.u8());
  Type scaleType = cast<MemRefType>(weights.front().scales.getType()).getElementType();
  scaleStages = d.shared("scale_stages", shape.stages * scaleRows() * scaleCount(), scaleType);
  if (format.minima)
    minimumStages =
        d.shared("minimum_stages", shape.stages * scaleRows() * scaleCount(), scaleType);
  if (format.doubleQuant)
    map = d.shared("scale_map", 256, d.f32());
  if (format.bits == 8)
    return;
  float values[16];
  for (int code = 0; code < 16; ++code)
    values[code] = format.valueOf(uint8_t(code));
  StringRef name = "codes";
  if (format.kind == WeightFormat::Codebook)
    name = formats::codebooks[size_t(format.codebook)].name;
  table = d.codeTable(name, d.shared("table_scratch", 32, d.u8()), values);
}

void FrozenTile::prepare(const Parts &parts, Int first) {
  firstCol = first;
  auto ofParts = [&](StringRef name, Value Arguments::*member) {
    SmallVector<Value> all;
    for (const Arguments &weight : weights)
      all.push_back(weight.*member);
    return parts.pick(name, all);
  };
  codes = ofParts("codes", &Arguments::codes), scales = ofParts("scales", &Arguments::scales);
  minima = ofParts("minima", &Arguments::minima), nested = ofParts("nested", &Arguments::nested);
  np = parts.pick("w_rows", [&](size_t part) { return roundUp(shape.n[part], 128); });
  if (decodes())
    lastBlock = parts.pick("last_block", [&](size_t part) {
      return ceilDiv(shape.n[part] * shape.k, format.block) - 1;
    });
  if (decodes())
    prepareDecoding();
  // A thread takes one piece of every few rows: what depends on the piece is the same for all its
  // copies.
  Int row = d.named("w_row", d.thread() / pieces()),
      piece = d.named("w_piece", d.thread() % pieces());
  Int from = shape.backward ? row * rowElements() + firstCol * codeBits() / 128 * pieceElements()
                            : (firstCol + row) * rowElements();
  codesFrom = d.pointer("w_from", codes, from + piece * pieceElements());
  if (!decodes())
    codesTo = d.keep("w_to", decoded.piece(d.constant(0), row, piece));
}

void FrozenTile::prepareDecoding() {
  if (format.doubleQuant) {
    d.loop("e", d.thread(), d.constant(256), shape.threads,
           [&](Int e) { d.store(d.loadNum(nested, {e}), map, {e}); });
    offset = d.named("scale_offset", d.loadNum(nested, {d.constant(256)}));
  }
  int64_t groups = (shape.backward ? shape.cols : 64) / 16;
  // Eight lanes write 16 bytes each at a time: two rows of four groups lie in different banks, a
  // row of eight does not.
  Int thread = d.thread();
  bool wide = groups >= 8;
  decodeRow =
      d.keep("decode_row", wide ? thread / (2 * groups) * 2 + thread / 4 % 2 : thread / groups);
  decodeGroup =
      d.named("decode_group", wide ? thread / 8 % (groups / 4) * 4 + thread % 4 : thread % groups);
  decodeFrom = (decodeRow * groups + decodeGroup) * (format.bits * 2);
  for (int64_t half = 0; half < 2; ++half)
    decodeTo[half] =
        d.keep("decode_to", decoded.piece(d.constant(0), decodeRow, decodeGroup * 2 + half));
}

//===--- copies ---===//

// Bits of a stored element; elements of memory a row and a piece of 16 bytes; pieces of a row that
// are the block's.
int64_t FrozenTile::codeBits() const { return decodes() ? format.bits : 16; }
int64_t FrozenTile::rowElements() const { return codeBits() == 4 ? kp / 2 : kp; }
int64_t FrozenTile::pieceElements() const { return codeBits() == 4 ? 16 : 128 / codeBits(); }
int64_t FrozenTile::pieces() const { return (shape.backward ? shape.cols : 64) * codeBits() / 128; }

void FrozenTile::load(Int step, Int stage) {
  loadCodes(step, stage);
  if (decodes())
    loadScales(scales, scaleStages, step, stage);
  if (format.minima)
    loadScales(minima, minimumStages, step, stage);
}

void FrozenTile::loadCodes(Int step, Int stage) {
  int64_t rows = shape.backward ? 64 : shape.cols, rowsACopy = shape.threads / pieces();
  assert(shape.threads % pieces() == 0 && rows % rowsACopy == 0 &&
         (decodes() || rowsACopy % 8 == 0));
  Value from = d.pointer("w_panel", codesFrom,
                         step * (shape.backward ? 64 * rowElements() : pieces() * pieceElements()));
  Int to =
      d.named("to", decodes() ? stage * codeBytes() + d.thread() * 16 : begin(stage) + codesTo);
  // The last block's columns may lie behind the rows' ends.
  bool beyond = shape.backward && kp % shape.cols != 0;
  Int inside = d.select(firstCol + d.thread() % pieces() * (128 / codeBits()) < kp, d.constant(16),
                        d.constant(0));
  for (int64_t c = 0; c < rows / rowsACopy; ++c) {
    Int source = d.constant(c * rowsACopy * rowElements());
    Int target = to + c * (decodes() ? shape.threads * 16 : rowsACopy * decoded.width * 2);
    Value memory = decodes() ? codeStages : decoded.bytes;
    beyond ? d.copyAsync(from, source, memory, target, inside)
           : d.copyAsync(from, source, memory, target);
  }
}

void FrozenTile::loadScales(Value from, Value to, Int step, Int stage) {
  int64_t per = 16 / scaleBytes(format), pieces = scaleCount() / per, all = scaleRows() * pieces;
  auto copy = [&](Int e) {
    Int pair = d.named("scale_row", e / pieces), piece = d.named("scale_piece", e % pieces);
    Int row = shape.backward ? step * 64 : firstCol, tile = shape.backward ? firstCol / 64 : step;
    Int index = (tile * scalesPerTile() + pair) * np + row + piece * per;
    Int place = (stage * scaleRows() + pair) * scaleCount() + piece * per;
    if (!shape.backward || kp % shape.cols == 0)
      return d.copyAsync(from, index, to, place);
    Bool inside = tile * scalesPerTile() + pair < kp / 64 * scalesPerTile();
    d.copyAsync(from, index, to, place, d.select(inside, d.constant(16), d.constant(0)));
  };
  if (all <= shape.threads)
    d.where(d.thread() < all, [&] { copy(d.thread()); });
  else
    d.loop("e", d.thread(), d.constant(all), shape.threads, copy);
}

//===--- decoding ---===//

// The scales that touch the 16 columns of a group, in their order.
SmallVector<Num> FrozenTile::scalesOf(Value part, Int step, Int stage, Int row, Int tile,
                                      Int group) {
  Int globalRow = shape.backward ? step * 64 + row : firstCol + row,
      globalTile = shape.backward ? firstCol / 64 + tile : step;
  auto read = [&](Int which) -> Num {
    Int place = (stage * scaleRows() + tile * scalesPerTile() + which) * scaleCount() + row;
    if (!format.doubleQuant)
      return d.named("scale", d.loadNum(part, {place}));
    // Block of the flat matrix; 256 of them share a scale of their scales. Where a row's blocks
    // divide 256 they are the same for all tiles.
    Int block = globalRow * (shape.k / 64) + globalTile;
    if (shape.k % 64 || format.block != 64)
      block = min((globalRow * shape.k + globalTile * 64) / format.block + which, lastBlock);
    Int second =
        shape.k % 64 == 0 && format.block == 64 && !shape.backward && 256 % (shape.k / 64) == 0
            ? globalRow * (shape.k / 64) / 256
            : block / 256;
    // Rows and columns that W does not have are decoded too, to numbers that meet zeros.
    if (llvm::any_of(shape.n, [](int64_t n) { return n % 128 != 0; }) || shape.k % 64)
      second = min(second, lastBlock / 256);
    Num absmax = d.named("second", d.loadNum(nested, {second + 257}));
    return d.named("scale", d.fma(d.loadNum(map, {d.loadInt(part, {place})}), absmax, offset));
  };
  if (scalesPerTile() == 1)
    return {read(d.constant(0))};
  if (!straddles())
    return {read(group / (format.block / 16))}; // blocks of 16 or 32
  SmallVector<Num> all;
  for (int64_t which = 0; which < scalesPerTile(); ++which)
    all.push_back(read(d.constant(which)));
  return all;
}

Num FrozenTile::scaleAt(ArrayRef<Num> all, Int first, Int col) {
  if (all.size() == 1)
    return all[0];
  Int place = first + col;
  Num scale = all.back();
  for (int64_t which = int64_t(all.size()) - 2; which >= 0; --which)
    scale = d.select(place < (which + 1) * format.block, all[which], scale);
  return scale;
}

int64_t FrozenTile::decodeRounds() const {
  return (shape.backward ? 64 : shape.cols) / rowsARound();
}
int64_t FrozenTile::rowsARound() const {
  int64_t groups = (shape.backward ? shape.cols : 64) / 16, rows = shape.threads / groups;
  assert(shape.threads % groups == 0 && rows % 8 == 0);
  return rows;
}

void FrozenTile::decode(Int step, Int stage, Int buffer, int64_t first, int64_t rounds) {
  bool bytes = format.bits == 8;
  int64_t rowsAnItem = rowsARound();
  Int group = decodeGroup;
  Int from = d.named("decode_from", stage * codeBytes() + decodeFrom);
  Int to[2] = {begin(buffer) + decodeTo[0], begin(buffer) + decodeTo[1]};
  d.unrolled("round", rounds, [&](Int round) {
    Int item = round + first;
    Int row = d.named("row", decodeRow + item * rowsAnItem);
    Int tile = shape.backward ? group / 4 : d.constant(0),
        inTile = shape.backward ? group % 4 : group;
    SmallVector<Num> scale = scalesOf(scaleStages, step, stage, row, tile, inTile);
    SmallVector<Num> minimum;
    if (format.minima)
      minimum = scalesOf(minimumStages, step, stage, row, tile, inTile);
    // Columns of the first block that lie before this tile.
    Int before = d.constant(0);
    if (straddles())
      before = d.named("before", ((shape.backward ? step * 64 + row : firstCol + row) * shape.k +
                                  (shape.backward ? firstCol / 64 + tile : step) * 64) %
                                     format.block);
    Value words = d.local("words", {bytes ? 4 : 2}, d.word()),
          pairs = d.local("pairs", {8}, d.word());
    d.copy(codeStages, {from + item * (shape.threads * (bytes ? 16 : 8))}, words, {d.constant(0)},
           bytes ? 16 : 8);
    if (bytes) {
      for (int64_t pair = 0; pair < 8; ++pair) {
        Value word = d.loadWord(words, {d.constant(pair / 2)});
        auto scaled = [&](int64_t byte) {
          Num code = d.byteOf(word, pair % 2 * 2 + byte);
          return minimum.empty() ? code * scale[0] : d.fma(code, scale[0], minimum[0]);
        };
        Num low = scaled(0);
        d.store(d.pack(low, scaled(1)), pairs, {d.constant(pair)});
      }
    } else {
      for (int64_t word = 0; word < 2; ++word)
        d.decode(d.loadWord(words, {d.constant(word)}), table, pairs, {d.constant(4 * word)});
      if (!shape.exactScales && scale.size() == 1 && minimum.empty()) {
        Value both = d.namedWord("both", d.pack(scale[0], scale[0]));
        d.unrolled("pair", 8, [&](Int pair) {
          d.store(d.mulPairs(d.loadWord(pairs, {pair}), both), pairs, {pair});
        });
      } else {
        d.unrolled("pair", 8, [&](Int pair) {
          Value word = d.loadWord(pairs, {pair});
          auto scaled = [&](bool high) {
            Int col = inTile * 16 + pair * 2 + (high ? 1 : 0);
            Num code = d.unpack(word, high), factor = scaleAt(scale, before, col);
            return minimum.empty() ? code * factor : d.fma(code, factor, minimum[0]);
          };
          Num low = scaled(false);
          d.store(d.pack(low, scaled(true)), pairs, {pair});
        });
      }
    }
    for (int64_t half = 0; half < 2; ++half)
      d.copy(pairs, {d.constant(4 * half)}, decoded.bytes,
             {to[half] + item * (rowsAnItem * decoded.width * 2)}, 16);
  });
}
