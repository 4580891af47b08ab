#include "compiler/codegen/cuda/families/LinearEpilogue.h"
#include "compiler/codegen/cuda/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

// Rows are laid out so many at a time, eight floats longer than the tile: pairs that a warp writes
// and pieces that it reads then lie in different banks.
static int64_t chunkRows(const TileShape &tile) { return std::min<int64_t>(tile.rows, 128); }
static int64_t stride(const TileShape &tile) { return tile.cols + 8; }

int64_t SumsByRows::sharedBytes(const TileShape &tile) {
  return chunkRows(tile) * stride(tile) * 4;
}

SumsByRows::SumsByRows(DeviceBuilder &d, const TileShape &tile)
    : d(d), tile(tile),
      sums(d.sharedFrom(0, "sums_by_rows", chunkRows(tile) * stride(tile), d.f32())) {}

void SumsByRows::each(Int rows, Int width, Int firstRow, Int firstCol,
                      llvm::function_ref<void(Pair)> eachPair,
                      llvm::function_ref<void(Place)> body) {
  int64_t chunk = chunkRows(tile), perRow = tile.cols / Pieces::size;
  for (int64_t begin = 0; begin < tile.rows; begin += chunk) {
    d.comment("the sums by rows");
    d.barrier();
    eachPair([&](Int row, Int col, Num low, Num high) {
      auto lay = [&] {
        Value pair = d.local("pair", {2}, d.f32());
        d.store(low, pair, {d.constant(0)}), d.store(high, pair, {d.constant(1)});
        d.copy(pair, {d.constant(0)}, sums, {(row - d.constant(begin)) * stride(tile) + col}, 8);
      };
      chunk == tile.rows
          ? lay()
          : d.where(d.constant(begin - 1) < row && row < begin + chunk, [&] { lay(); });
    });
    d.barrier();
    d.loop("piece", d.thread(), d.constant(chunk * perRow), tile.threads(), [&](Int piece) {
      Int tileRow = d.named("sum_row", piece / perRow),
          tileCol = d.named("sum_col", piece % perRow * Pieces::size);
      Int row = d.named("row", firstRow + tileRow + begin),
          col = d.named("col", firstCol + tileCol);
      d.where(row < rows && col < width, [&] { body({tileRow, tileCol, row, col}); });
    });
  }
}

Value SumsByRows::load(StringRef name, Int tileRow, Int tileCol) {
  Value values = d.local(name, {Pieces::size}, d.f32());
  for (int64_t half = 0; half < 2; ++half)
    d.copy(sums, {tileRow * stride(tile) + tileCol + half * 4}, values, {d.constant(half * 4)}, 16);
  return values;
}

//===--- of one product ---===//

static StringRef kindOf(DictionaryAttr params) {
  auto kind = params.getAs<StringAttr>("epilogue");
  return kind ? kind.getValue() : StringRef();
}
static bool flagOf(DictionaryAttr params, StringRef name) {
  auto value = params.getAs<BoolAttr>(name);
  return value && value.getValue();
}

bool LinearEpilogue::serves(DictionaryAttr params, const TileShape &tile) {
  return kindOf(params) != "rope" || tile.cols % intParam(params, "rope") == 0;
}

static ArrayRef<int64_t> list(DictionaryAttr params, StringRef name) {
  return params.getAs<DenseI64ArrayAttr>(name).asArrayRef();
}
// Operands of the map beside the product.
static int64_t otherCount(DictionaryAttr params) {
  return llvm::count_if(list(params, "sources"), [](int64_t source) { return source >= 0; });
}

void LinearEpilogue::addArguments(Kernel &kernel, DictionaryAttr params, bool backward,
                                  unsigned &buffer, SmallVectorImpl<DeviceBuilder::Argument> &all) {
  // What is written may lie over what is read.
  auto add = [&](StringRef name) { all.push_back(kernel.argument(name, buffer++, true)); };
  StringRef kind = kindOf(params), result = backward ? "dx" : "y";
  if (flagOf(params, "residual"))
    add("residual");
  if (kind == "rope") {
    all.push_back(kernel.argument("positions", buffer++));
    all.push_back(kernel.argument("table", buffer++));
  }
  if (kind != "map") {
    add(result);
    return;
  }
  if (flagOf(params, "keeps"))
    add(result);
  int64_t others = otherCount(params), results = list(params, "lds").size() - others;
  for (int64_t i = 0; i < others; ++i)
    add("other" + std::to_string(i));
  for (int64_t i = 0; i < results; ++i)
    add("result" + std::to_string(i));
}

LinearEpilogue::LinearEpilogue(DeviceBuilder &d, Kernel &kernel, DictionaryAttr params,
                               bool backward, int64_t width)
    : d(d), kernel(kernel), params(params), pieces(d, width), kind(kindOf(params)),
      ldOut(intParam(params, backward ? "lddx" : "ldy")),
      ldRes(backward ? 0 : intParam(params, "ldr")), accumulate(flagOf(params, "accumulate")) {
  if (flagOf(params, "residual"))
    residual = d.next();
  if (kind == "rope")
    positions = d.next(), table = d.next();
  if (kind != "map" || flagOf(params, "keeps"))
    out = d.next();
  if (kind == "map") {
    int64_t count = otherCount(params), all = list(params, "lds").size();
    for (int64_t i = 0; i < all; ++i)
      (i < count ? others : results).push_back(d.next());
  }
}

void LinearEpilogue::finish(SumsByRows &sums, SumsByRows::Place at) {
  Value values = sums.load("values", at.tileRow, at.tileCol);
  if (residual || accumulate) {
    Value onto = residual ? pieces.load("onto", residual, at.row * ldRes, at.col)
                          : pieces.load("onto", out, at.row * ldOut, at.col);
    d.unrolled("e", Pieces::size,
               [&](Int e) { d.store(d.loadNum(onto, {e}) + d.loadNum(values, {e}), values, {e}); });
  }
  if (kind == "rope")
    return finishRope(sums, at, values);
  if (out)
    pieces.store(values, out, at.row * ldOut, at.col);
  if (kind == "map")
    finishMap(at, values);
}

// y[i] = x[i]·cos - x[i + d/2]·sin, y[i + d/2] = x[i + d/2]·cos + x[i]·sin in each head; the table
// holds d/2 cosines, then as many sines, for each position.
void LinearEpilogue::finishRope(SumsByRows &sums, SumsByRows::Place at, Value values) {
  int64_t headDim = intParam(params, "rope"), half = headDim / 2;
  Int inHead = d.named("in_head", at.col % headDim);
  Bool first = inHead < half;
  Value partner =
      sums.load("partner", at.tileRow,
                d.named("partner_col", d.select(first, at.tileCol + half, at.tileCol - half)));
  Int angles = d.named("angles", d.loadInt(positions, {at.row}) * headDim + inHead % half);
  Pieces inTable(d, headDim);
  Int zero = d.constant(0);
  Value cosines = inTable.load("cosines", table, angles, zero),
        sines = inTable.load("sines", table, angles, d.constant(half));
  // The inverse turns back: by the negative angle.
  bool inverse = flagOf(params, "inverse");
  Num sign =
      d.named("sign", d.select(first, d.number(inverse ? 1 : -1), d.number(inverse ? -1 : 1)));
  d.unrolled("e", Pieces::size, [&](Int e) {
    Num turned = d.loadNum(partner, {e}) * d.loadNum(sines, {e}) * sign;
    d.store(d.loadNum(values, {e}) * d.loadNum(cosines, {e}) + turned, values, {e});
  });
  pieces.store(values, out, at.row * ldOut, at.col);
}

void LinearEpilogue::finishMap(SumsByRows::Place at, Value values) {
  ArrayRef<int64_t> sources = list(params, "sources"), lds = list(params, "lds");
  SmallVector<Value> loaded, made;
  for (auto [i, other] : llvm::enumerate(others))
    loaded.push_back(pieces.load("a" + std::to_string(i), other, at.row * lds[i], at.col));
  for (size_t i = 0; i < results.size(); ++i)
    made.push_back(d.local("r" + std::to_string(i), {Pieces::size}, d.f32()));
  d.unrolled("e", Pieces::size, [&](Int e) {
    SmallVector<Value> arguments;
    for (int64_t source : sources)
      arguments.push_back(d.loadNum(source < 0 ? values : loaded[source], {e}));
    for (auto [i, value] : llvm::enumerate(cloneMapBody(d, kernel.op.getBody().front(), arguments)))
      d.store(value, made[i], {e});
  });
  for (auto [i, result] : llvm::enumerate(results))
    pieces.store(made[i], result, at.row * lds[others.size() + i], at.col);
}
