// o = softmax(scale·q·kᵀ + causal mask inside a sample)·v by blocks of 64 queries of one head (Dao
// 2022, algorithm 1): key tiles pass by once, largest score and sum are corrected on the way. A
// query's sample begins at row - positions[row].

#include "compiler/codegen/cuda/families/AttentionTile.h"

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family attentionForwardFamily;
}

static LogicalResult build(Kernel &kernel) {
  AttentionShape shape(kernel);
  int64_t keys = shape.walked();
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), attentionThreads,
                  kernel.compute(),
                  {kernel.argument("q", 0), kernel.argument("k", 1), kernel.argument("v", 2),
                   kernel.argument("positions", 3), kernel.argument("o", 4, true),
                   kernel.argument("lse", 5, true)});
  Value q = d.next(), k = d.next(), v = d.next(), positions = d.next(), o = d.next(),
        lse = d.next();
  Int rows = d.rows(), first = firstOfBlock(d, rows), head = d.named("head", d.blockX());
  Int kvHead = d.named("kv_head", head / shape.group());
  d.returnIf(first < 0);
  HeadTile qTile(d, "q_tile", shape, attentionRows), kTile(d, "k_tile", shape, keys, 2),
      vTile(d, "v_tile", shape, keys, 2);
  qTile.load(q, shape.ldq, head, first, rows);

  // A lane's two rows: lane/4 and eight further.
  Int warpFirst = d.named("warp_first", first + d.warp() * 16);
  SmallVector<Int> row, start;
  SmallVector<Value> largest, total;
  for (int64_t half = 0; half < 2; ++half) {
    row.push_back(d.named("row", warpFirst + d.lane() / 4 + half * 8));
    Int position = d.loadIntWhere("position", row[half] < rows, positions, {row[half]});
    start.push_back(d.named("start", firstSeen(shape, row[half], position)));
    largest.push_back(d.variable("largest", d.number(-1e30)));
    total.push_back(d.variable("total", d.number(0)));
  }
  Value out = warpSums(d, "out", shape.steps() * 16);
  Int qPlace = d.keep("q_place", fragmentPlace(d, qTile.tile(), d.warp() * 16, false, true));
  Int kPlace = d.keep("k_place", fragmentPlace(d, kTile.tile(), d.constant(0), false, false));
  Int vPlace = d.keep("v_place", fragmentPlace(d, vTile.tile(), d.constant(0), true, false));
  Int firstKey =
      d.named("first_key", firstSeen(shape, first, d.loadInt(positions, {first})) / keys * keys);
  Int lastKey = d.named("last_key", min(rows, first + attentionRows));

  d.comment("tiles of keys from the first query's sample on");
  auto load = [&](Int key, Int buffer) {
    kTile.load(k, shape.ldk, kvHead, key, rows, buffer);
    vTile.load(v, shape.ldv, kvHead, key, rows, buffer);
  };
  walkTiles(d, "key", firstKey, lastKey, keys, load, [&](Int key, Int buffer) {
    Value scores = warpSums(d, "scores", keys);
    multiplyRows(d, scores, keys, qTile.tile(), qPlace, kTile.tile(), kPlace + kTile.begin(buffer),
                 shape.steps());
    Value now[2] = {d.variable("largest_now", d.get(largest[0])),
                    d.variable("largest_now", d.get(largest[1]))};
    eachSum(d, keys, [&](Int j, int64_t e) {
      Int at = d.named("at", key + j * 8 + d.lane() % 4 * 2 + e % 2);
      Bool seen = start[e / 2] <= at && at <= row[e / 2];
      Num score = d.named(
          "score", d.select(seen, scoreOf(d, shape, d.loadNum(scores, {j, d.constant(e)})).log2,
                            d.number(-1e38)));
      d.store(score, scores, {j, d.constant(e)});
      d.set(now[e / 2], max(d.get(now[e / 2]), score));
    });
    for (int64_t half = 0; half < 2; ++half) {
      Num best = d.get(now[half]);
      for (int64_t mask : {1, 2}) // the four lanes that share the row
        best = d.named("best", max(best, d.shuffleXor(best, mask)));
      Num correction = d.named("correction", d.exp2(d.get(largest[half]) - best));
      d.set(largest[half], best);
      d.set(total[half], d.get(total[half]) * correction);
      d.unrolled("j", shape.steps() * 2, [&](Int j) {
        for (int64_t e = 2 * half; e < 2 * half + 2; ++e)
          d.store(d.loadNum(out, {j, d.constant(e)}) * correction, out, {j, d.constant(e)});
      });
    }
    eachSum(d, keys, [&](Int j, int64_t e) {
      Num weight =
          d.named("weight", d.exp2(d.loadNum(scores, {j, d.constant(e)}) - d.get(largest[e / 2])));
      d.store(weight, scores, {j, d.constant(e)});
      d.set(total[e / 2], d.get(total[e / 2]) + weight);
    });
    multiplyWeights(d, out, shape.headDim, scores, keys, vTile.tile(),
                    vPlace + vTile.begin(buffer));
  });

  SmallVector<Num> inverse;
  for (int64_t half = 0; half < 2; ++half) {
    Num sum = d.get(total[half]);
    for (int64_t mask : {1, 2})
      sum = d.named("sum", sum + d.shuffleXor(sum, mask));
    inverse.push_back(d.named("inverse", d.number(1) / sum));
    d.where(d.lane() % 4 == 0 && row[half] < rows, [&] {
      d.store(d.get(largest[half]) * 0.6931471805599453 + d.log(sum), lse,
              {row[half] * shape.ldl + head});
    });
  }
  storeHead(d, out, shape, o, shape.ldo, head, warpFirst, rows, inverse);
  return success();
}

static Grid grid(DictionaryAttr params, const CudaTarget &, int64_t rows) {
  return {intParam(params, "heads"), ceilDiv(rows, attentionRows), 1};
}

const Family lorac::cuda::attentionForwardFamily = {
    "attention_forward",
    "o = softmax(scale·q·kᵀ, causal inside each sample)·v; lse = log of the sums of exponentials",
    grid, build};
