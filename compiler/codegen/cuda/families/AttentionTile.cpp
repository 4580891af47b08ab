#include "compiler/codegen/cuda/families/AttentionTile.h"

using namespace mlir;
using namespace lorac::cuda;

AttentionShape::AttentionShape(Kernel &kernel)
    : heads(kernel.integer("heads")), kvHeads(kernel.integer("kv_heads")),
      headDim(kernel.integer("head_dim")), ldq(kernel.integer("ldq")), ldk(kernel.integer("ldk")),
      ldv(kernel.integer("ldv")), ldo(kernel.integer("ldo")), ldl(kernel.integer("ldl")),
      scale(kernel.number("scale")), window(kernel.has("window") ? kernel.integer("window") : 0),
      softcap(kernel.has("softcap") ? kernel.number("softcap") : 0) {}

Score lorac::cuda::scoreOf(DeviceBuilder &d, const AttentionShape &shape, Num product) {
  if (shape.softcap == 0)
    return {product * shape.scaleLog2(), std::nullopt};
  Num capped = d.named("capped", d.tanh(product * (shape.scale / shape.softcap)));
  return {capped * (shape.softcap * 1.4426950408889634), d.number(1) - capped * capped};
}

HeadTile::HeadTile(DeviceBuilder &d, StringRef name, const AttentionShape &shape,
                   int64_t rowsOfTile, int64_t buffers)
    : d(d), shape(shape), tileRows(rowsOfTile),
      swizzled(d, name, buffers * rowsOfTile * shape.width(), shape.width()) {}

void HeadTile::load(Value from, int64_t ld, Int head, Int first, Int rows, Int buffer) {
  int64_t cols = shape.steps() * 16, pieces = cols / 8;
  if (shape.headDim % 8) { // rows of a head begin at no multiple of 16 bytes
    d.loop("e", d.thread(), d.constant(tileRows * cols), attentionThreads, [&](Int e) {
      Int row = d.named("tile_row", e / cols), col = d.named("tile_col", e % cols);
      Num value = d.loadWhere("value", first + row < rows && col < shape.headDim, from,
                              {(first + row) * ld + head * shape.headDim + col});
      d.store(value, swizzled.memory, {begin(buffer) / 2 + swizzled.element(row, col)});
    });
    return;
  }
  d.loop("e", d.thread(), d.constant(tileRows * pieces), attentionThreads, [&](Int e) {
    Int row = d.named("tile_row", e / pieces), piece = d.named("tile_piece", e % pieces);
    Bool there = first + row < rows && piece * 8 < shape.headDim;
    d.copyAsync(from, (first + row) * ld + head * shape.headDim + piece * 8, swizzled.bytes,
                swizzled.piece(begin(buffer), row, piece),
                d.select(there, d.constant(16), d.constant(0)));
  });
}

void lorac::cuda::walkTiles(DeviceBuilder &d, StringRef name, Int first, Int last, int64_t step,
                            llvm::function_ref<void(Int, Int)> load,
                            llvm::function_ref<void(Int, Int)> body) {
  d.where(first < last, [&] { load(first, d.constant(0)); });
  d.commit();
  Value buffer = d.variable("buffer", d.constant(0));
  d.loop(name, first, last, step, [&](Int row) {
    Int now = d.named("now", d.getInt(buffer)), other = d.named("other", d.constant(1) - now);
    d.where(row + step < last, [&] { load(row + step, other); });
    d.commit();
    d.wait(1);
    d.barrier();
    body(row, now);
    d.barrier();
    d.set(buffer, other);
  });
}

Value lorac::cuda::warpSums(DeviceBuilder &d, StringRef name, int64_t cols) {
  Value sums = d.local(name, {cols / 8, 4}, d.f32());
  clearSums(d, sums, cols);
  return sums;
}

void lorac::cuda::clearSums(DeviceBuilder &d, Value sums, int64_t cols) {
  d.unrolled("j", cols / 8, [&](Int j) {
    d.unrolled("e", 4, [&](Int e) { d.store(d.number(0), sums, {j, e}); });
  });
}

static void multiplyFragment(DeviceBuilder &d, Value sums, int64_t cols, Value a,
                             llvm::function_ref<void(Int, Value)> loadB) {
  d.unrolled("j", cols / 16, [&](Int j) {
    Value b = d.local("b", {4}, d.word());
    loadB(j, b);
    for (int64_t half = 0; half < 2; ++half)
      d.mma(sums, {j * 2 + half}, a, {}, d.loadWord(b, {d.constant(2 * half)}),
            d.loadWord(b, {d.constant(2 * half + 1)}));
  });
}

void lorac::cuda::multiplyRows(DeviceBuilder &d, Value sums, int64_t cols,
                               const SwizzledTile &aTile, Int aPlace, const SwizzledTile &bTile,
                               Int bPlace, int64_t steps) {
  d.unrolled("k", steps, [&](Int k) {
    Value a = d.local("a", {4}, d.word());
    d.ldmatrix(aTile.bytes, along(aPlace, k), false, a, {});
    multiplyFragment(d, sums, cols, a, [&](Int j, Value b) {
      d.ldmatrix(bTile.bytes, down(along(bPlace, k), bTile, j), false, b, {});
    });
  });
}

void lorac::cuda::multiplyWeights(DeviceBuilder &d, Value sums, int64_t dim, Value weights,
                                  int64_t depth, const SwizzledTile &bTile, Int bPlace) {
  d.unrolled("k", depth / 16, [&](Int k) {
    // Sums of two tiles of eight columns are, pair by pair, a fragment of a.
    Value a = d.local("a", {4}, d.word());
    for (int64_t word = 0; word < 4; ++word) {
      auto sum = [&](int64_t e) {
        return d.loadNum(weights, {k * 2 + word / 2, d.constant(word % 2 * 2 + e)});
      };
      Num low = sum(0);
      d.store(d.pack(low, sum(1)), a, {d.constant(word)});
    }
    multiplyFragment(d, sums, roundUp(dim, 16), a, [&](Int j, Value b) {
      d.ldmatrix(bTile.bytes, down(along(bPlace, j), bTile, k), true, b, {});
    });
  });
}

void lorac::cuda::eachSum(DeviceBuilder &d, int64_t cols,
                          llvm::function_ref<void(Int, int64_t)> body) {
  d.unrolled("j", cols / 8, [&](Int j) {
    for (int64_t e = 0; e < 4; ++e)
      body(j, e);
  });
}

void lorac::cuda::storeHead(DeviceBuilder &d, Value sums, const AttentionShape &shape, Value to,
                            int64_t ld, Int head, Int firstRow, Int rows, ArrayRef<Num> factors) {
  bool pairs = shape.headDim % 2 == 0; // two neighbours in one store
  d.unrolled("j", roundUp(shape.headDim, 8) / 8, [&](Int j) {
    for (int64_t half = 0; half < 2; ++half) {
      Int row = d.named("row", firstRow + d.lane() / 4 + half * 8),
          col = d.named("col", j * 8 + d.lane() % 4 * 2);
      Int place = d.named("place", row * ld + head * shape.headDim + col);
      auto value = [&](int64_t e) {
        return d.loadNum(sums, {j, d.constant(2 * half + e)}) * factors[half];
      };
      d.where(row < rows && col < shape.headDim, [&] {
        Num low = value(0);
        if (pairs)
          return d.storePair(d.pack(low, value(1)), to, place);
        d.store(low, to, {place});
        d.where(col + 1 < shape.headDim, [&] { d.store(value(1), to, {place + 1}); });
      });
    }
  });
}
