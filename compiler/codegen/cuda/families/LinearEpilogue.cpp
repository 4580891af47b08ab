#include "compiler/codegen/cuda/families/LinearEpilogue.h"
#include "compiler/codegen/cuda/families/MapBody.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cuda;

// Rows are laid out so many at a time, eight floats longer than the tile: pairs that a warp writes
// and pieces that it reads then lie in different banks.
static int64_t chunkRows(const TileShape &tile) { return std::min<int64_t>(tile.rows, 128); }
static int64_t stride(const TileShape &tile) { return tile.cols + 8; }

int64_t LinearEpilogue::sharedBytes(const TileShape &tile) {
  return chunkRows(tile) * stride(tile) * 4;
}

static StringRef kindOf(DictionaryAttr params) {
  auto kind = params.getAs<StringAttr>("epilogue");
  return kind ? kind.getValue() : StringRef();
}

bool LinearEpilogue::serves(DictionaryAttr params, const TileShape &tile) {
  return kindOf(params) != "rope" || tile.cols % intParam(params, "rope") == 0;
}

static ArrayRef<int64_t> list(Kernel &kernel, StringRef name) {
  return kernel.op.getParams().getAs<DenseI64ArrayAttr>(name).asArrayRef();
}
// Operands of the map beside the product.
static int64_t otherCount(Kernel &kernel) {
  return llvm::count_if(list(kernel, "sources"), [](int64_t source) { return source >= 0; });
}

void LinearEpilogue::addArguments(Kernel &kernel, unsigned buffer,
                                  SmallVectorImpl<DeviceBuilder::Argument> &all) {
  // What is written may lie over what is read.
  auto add = [&](StringRef name) { all.push_back(kernel.argument(name, buffer++, true)); };
  StringRef kind = kindOf(kernel.op.getParams()),
            result = kernel.op.getFamily() == "linear_backward" ? "dx" : "y";
  if (kernel.flag("residual"))
    add("residual");
  if (kind == "rope") {
    all.push_back(kernel.argument("positions", buffer++));
    all.push_back(kernel.argument("table", buffer++));
  }
  if (kind != "map") {
    add(result);
    return;
  }
  if (kernel.flag("keeps"))
    add(result);
  int64_t others = otherCount(kernel), results = list(kernel, "lds").size() - others;
  for (int64_t i = 0; i < others; ++i)
    add("other" + std::to_string(i));
  for (int64_t i = 0; i < results; ++i)
    add("result" + std::to_string(i));
}

LinearEpilogue::LinearEpilogue(DeviceBuilder &d, Kernel &kernel, const Shape &shape)
    : d(d), kernel(kernel), shape(shape), pieces(d, shape.width),
      kind(kindOf(kernel.op.getParams())) {
  if (shape.residual)
    residual = d.next();
  if (kind == "rope")
    positions = d.next(), table = d.next();
  if (kind != "map" || kernel.flag("keeps"))
    out = d.next();
  if (kind == "map") {
    int64_t count = otherCount(kernel), all = list(kernel, "lds").size();
    for (int64_t i = 0; i < all; ++i)
      (i < count ? others : results).push_back(d.next());
  }
}

void LinearEpilogue::write(Int rows, Int firstRow, Int firstCol,
                           llvm::function_ref<void(Pair)> eachPair) {
  int64_t chunk = chunkRows(shape.tile), perRow = shape.tile.cols / Pieces::size;
  sums = d.sharedFrom(0, "sums_by_rows", chunk * stride(shape.tile), d.f32());
  for (int64_t begin = 0; begin < shape.tile.rows; begin += chunk) {
    d.comment("the sums by rows");
    d.barrier();
    eachPair([&](Int row, Int col, Num low, Num high) {
      auto lay = [&] {
        Value pair = d.local("pair", {2}, d.f32());
        d.store(low, pair, {d.constant(0)}), d.store(high, pair, {d.constant(1)});
        d.copy(pair, {d.constant(0)}, sums, {(row - d.constant(begin)) * stride(shape.tile) + col},
               8);
      };
      chunk == shape.tile.rows
          ? lay()
          : d.where(d.constant(begin - 1) < row && row < begin + chunk, [&] { lay(); });
    });
    d.barrier();
    d.loop("piece", d.thread(), d.constant(chunk * perRow), shape.tile.threads(), [&](Int piece) {
      Int tileRow = d.named("sum_row", piece / perRow),
          tileCol = d.named("sum_col", piece % perRow * Pieces::size);
      Int row = d.named("row", firstRow + tileRow + begin),
          col = d.named("col", firstCol + tileCol);
      d.where(row < rows && col < shape.width,
              [&] { finish(staged("values", tileRow, tileCol), tileRow, tileCol, row, col); });
    });
  }
}

Value LinearEpilogue::staged(StringRef name, Int tileRow, Int tileCol) {
  Value values = d.local(name, {Pieces::size}, d.f32());
  for (int64_t half = 0; half < 2; ++half)
    d.copy(sums, {tileRow * stride(shape.tile) + tileCol + half * 4}, values,
           {d.constant(half * 4)}, 16);
  return values;
}

void LinearEpilogue::finish(Value values, Int tileRow, Int tileCol, Int row, Int col) {
  if (shape.residual || shape.accumulate) {
    Value onto = shape.residual ? pieces.load("onto", residual, row * shape.ldRes, col)
                                : pieces.load("onto", out, row * shape.ldOut, col);
    d.unrolled("e", Pieces::size,
               [&](Int e) { d.store(d.loadNum(onto, {e}) + d.loadNum(values, {e}), values, {e}); });
  }
  if (kind == "rope")
    return finishRope(values, tileRow, tileCol, row, col);
  if (out)
    pieces.store(values, out, row * shape.ldOut, col);
  if (kind == "map")
    finishMap(values, row, col);
}

// y[i] = x[i]·cos - x[i + d/2]·sin, y[i + d/2] = x[i + d/2]·cos + x[i]·sin in each head; the table
// holds d/2 cosines, then as many sines, for each position.
void LinearEpilogue::finishRope(Value values, Int tileRow, Int tileCol, Int row, Int col) {
  int64_t headDim = kernel.integer("rope"), half = headDim / 2;
  Int inHead = d.named("in_head", col % headDim);
  Bool first = inHead < half;
  Value partner = staged("partner", tileRow,
                         d.named("partner_col", d.select(first, tileCol + half, tileCol - half)));
  Int angles = d.named("angles", d.loadInt(positions, {row}) * headDim + inHead % half);
  Pieces inTable(d, headDim);
  Int zero = d.constant(0);
  Value cosines = inTable.load("cosines", table, angles, zero),
        sines = inTable.load("sines", table, angles, d.constant(half));
  // The inverse turns back: by the negative angle.
  bool inverse = kernel.flag("inverse");
  Num sign =
      d.named("sign", d.select(first, d.number(inverse ? 1 : -1), d.number(inverse ? -1 : 1)));
  d.unrolled("e", Pieces::size, [&](Int e) {
    Num turned = d.loadNum(partner, {e}) * d.loadNum(sines, {e}) * sign;
    d.store(d.loadNum(values, {e}) * d.loadNum(cosines, {e}) + turned, values, {e});
  });
  pieces.store(values, out, row * shape.ldOut, col);
}

void LinearEpilogue::finishMap(Value values, Int row, Int col) {
  ArrayRef<int64_t> sources = list(kernel, "sources"), lds = list(kernel, "lds");
  SmallVector<Value> loaded, made;
  for (auto [i, other] : llvm::enumerate(others))
    loaded.push_back(pieces.load("a" + std::to_string(i), other, row * lds[i], col));
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
    pieces.store(made[i], result, row * lds[others.size() + i], col);
}
