// Gradients of attention (Dao 2022, algorithm 4) without additions from several blocks to one
// place: delta = rowsum(do·o) first, then dq by blocks of queries and dk, dv by blocks of keys. p =
// exp(scale·q·kᵀ - lse), ds = p·(do·vᵀ - delta), dq = scale·ds·k, dk = scale·dsᵀ·q, dv = pᵀ·do.

#include "compiler/codegen/cuda/families/AttentionTile.h"
#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family attentionDeltaFamily, attentionBackwardQFamily, attentionBackwardKvFamily;
}

static constexpr double log2e = 1.4426950408889634;

static LogicalResult buildDelta(Kernel &kernel) {
  AttentionShape shape(kernel);
  int64_t lddo = kernel.integer("lddo");
  DeviceBuilder d(
      kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads, kernel.compute(),
      {kernel.argument("o", 0), kernel.argument("dout", 1), kernel.argument("delta", 2, true)});
  Value o = d.next(), dout = d.next(), delta = d.next();
  Int row = warpRow(d);
  int64_t lanes = shape.headDim / 8; // that share a head, eight columns each
  if (shape.headDim % 8 == 0 && lanes <= 32 && 32 % lanes == 0) {
    Pieces pieces(d, shape.heads * shape.headDim);
    // All lanes take part in a shuffle: the last round has zeros behind the last head.
    int64_t columns = shape.heads * shape.headDim, round = 32 * Pieces::size;
    d.loop("col", d.lane() * Pieces::size, d.constant(roundUp(columns, round)), round,
           [&](Int col) {
             Value sum = d.variable("sum", d.number(0));
             d.where(columns % round ? col < columns : d.truth(true), [&] {
               Value x = pieces.load("o_values", o, row * shape.ldo, col),
                     y = pieces.load("dout_values", dout, row * lddo, col);
               d.unrolled("e", Pieces::size, [&](Int e) {
                 d.set(sum, d.fma(d.loadNum(x, {e}), d.loadNum(y, {e}), d.get(sum)));
               });
             });
             Num all = d.get(sum);
             for (int64_t mask = lanes / 2; mask > 0; mask /= 2)
               all = d.named("partial", all + d.shuffleXor(all, mask));
             Int head = d.named("head", col / shape.headDim);
             d.where(d.lane() % lanes == 0 && head < shape.heads,
                     [&] { d.store(all, delta, {row * shape.ldl + head}); });
           });
    return success();
  }
  d.loop("head", 0, shape.heads, 1, [&](Int head) {
    Value sum = d.variable("sum", d.number(0));
    overColumns(d, shape.headDim, [&](Int col) {
      Int at = d.named("at", head * shape.headDim + col);
      d.set(sum,
            d.get(sum) + d.loadNum(o, {row * shape.ldo + at}) * d.loadNum(dout, {row * lddo + at}));
    });
    Num all = d.warpSum(d.get(sum));
    d.where(d.lane() == 0, [&] { d.store(all, delta, {row * shape.ldl + head}); });
  });
  return success();
}

static LogicalResult buildQ(Kernel &kernel) {
  AttentionShape shape(kernel);
  int64_t keys = shape.walked(), lddo = kernel.integer("lddo"), lddq = kernel.integer("lddq");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), attentionThreads,
                  kernel.compute(),
                  {kernel.argument("q", 0), kernel.argument("k", 1), kernel.argument("v", 2),
                   kernel.argument("positions", 3), kernel.argument("lse", 4),
                   kernel.argument("delta", 5), kernel.argument("dout", 6),
                   kernel.argument("dq", 7, true)});
  Value q = d.next(), k = d.next(), v = d.next(), positions = d.next(), lse = d.next(),
        delta = d.next(), dout = d.next(), dq = d.next();
  Int rows = d.rows(), first = firstOfBlock(d, rows), head = d.named("head", d.blockX());
  Int kvHead = d.named("kv_head", head / shape.group());
  d.returnIf(first < 0);
  HeadTile qTile(d, "q_tile", shape, attentionRows), doTile(d, "do_tile", shape, attentionRows),
      kTile(d, "k_tile", shape, keys, 2), vTile(d, "v_tile", shape, keys, 2);
  qTile.load(q, shape.ldq, head, first, rows);
  doTile.load(dout, lddo, head, first, rows);

  Int warpFirst = d.named("warp_first", first + d.warp() * 16);
  SmallVector<Int> row, start;
  SmallVector<Num> logSum, mean;
  for (int64_t half = 0; half < 2; ++half) {
    row.push_back(d.named("row", warpFirst + d.lane() / 4 + half * 8));
    Bool there = row[half] < rows;
    start.push_back(
        d.named("start", row[half] - d.loadIntWhere("position", there, positions, {row[half]})));
    logSum.push_back(d.named(
        "log2_sum", d.loadWhere("lse_value", there, lse, {row[half] * shape.ldl + head}) * log2e));
    mean.push_back(d.loadWhere("delta_value", there, delta, {row[half] * shape.ldl + head}));
  }
  Value sums = warpSums(d, "dq_sums", shape.steps() * 16);
  Int zero = d.constant(0);
  Int qPlace = d.keep("q_place", fragmentPlace(d, qTile.tile(), d.warp() * 16, false, true));
  Int kPlace = d.keep("k_place", fragmentPlace(d, kTile.tile(), zero, false, false));
  Int kDown = d.keep("k_down", fragmentPlace(d, kTile.tile(), zero, true, false));
  Int firstKey = d.named("first_key", (first - d.loadInt(positions, {first})) / keys * keys);

  d.comment("tiles of keys from the first query's sample on");
  auto load = [&](Int key, Int buffer) {
    kTile.load(k, shape.ldk, kvHead, key, rows, buffer);
    vTile.load(v, shape.ldv, kvHead, key, rows, buffer);
  };
  walkTiles(d, "key", firstKey, d.named("last_key", min(rows, first + attentionRows)), keys, load,
            [&](Int key, Int buffer) {
              Int begin = d.named("tile_begin", kTile.begin(buffer)); // v's is the same
              Value scores = warpSums(d, "scores", keys), slopes = warpSums(d, "slopes", keys);
              multiplyRows(d, scores, keys, qTile.tile(), qPlace, kTile.tile(), kPlace + begin,
                           shape.steps());
              multiplyRows(d, slopes, keys, doTile.tile(), qPlace, vTile.tile(), kPlace + begin,
                           shape.steps());
              eachSum(d, keys, [&](Int j, int64_t e) {
                Int at = d.named("at", key + j * 8 + d.lane() % 4 * 2 + e % 2);
                Bool seen = start[e / 2] <= at && at <= row[e / 2] && row[e / 2] < rows;
                Num weight = d.named(
                    "weight", d.exp2(d.loadNum(scores, {j, d.constant(e)}) * shape.scaleLog2() -
                                     logSum[e / 2]));
                Num slope = d.loadNum(slopes, {j, d.constant(e)}) - mean[e / 2];
                d.store(d.select(seen, weight * slope, d.number(0)), scores, {j, d.constant(e)});
              });
              multiplyWeights(d, sums, shape.headDim, scores, keys, kTile.tile(), kDown + begin);
            });
  Num scale = d.number(shape.scale);
  storeHead(d, sums, shape, dq, lddq, head, warpFirst, rows, {scale, scale});
  return success();
}

// Everything the other way round: a warp has 16 keys, the columns of its scores are queries.
static LogicalResult buildKv(Kernel &kernel) {
  AttentionShape shape(kernel);
  int64_t queries = shape.walked(), lddo = kernel.integer("lddo"), lddk = kernel.integer("lddk"),
          lddv = kernel.integer("lddv");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), attentionThreads,
                  kernel.compute(),
                  {kernel.argument("q", 0), kernel.argument("k", 1), kernel.argument("v", 2),
                   kernel.argument("positions", 3), kernel.argument("row_ends", 4),
                   kernel.argument("lse", 5), kernel.argument("delta", 6),
                   kernel.argument("dout", 7), kernel.argument("dk", 8, true),
                   kernel.argument("dv", 9, true)});
  Value q = d.next(), k = d.next(), v = d.next(), positions = d.next(), rowEnds = d.next(),
        lse = d.next(), delta = d.next(), dout = d.next(), dk = d.next(), dv = d.next();
  Int rows = d.rows(), first = d.named("first_key", d.blockY() * attentionRows),
      kvHead = d.named("kv_head", d.blockX());
  d.returnIf(rows <= first);
  HeadTile kTile(d, "k_tile", shape, attentionRows), vTile(d, "v_tile", shape, attentionRows),
      qTile(d, "q_tile", shape, queries, 2), doTile(d, "do_tile", shape, queries, 2);
  Value starts = d.shared("starts", 2 * queries, d.i32()),
        logSums = d.shared("log2_sums", 2 * queries, d.f32()),
        means = d.shared("deltas", 2 * queries, d.f32());
  kTile.load(k, shape.ldk, kvHead, first, rows);
  vTile.load(v, shape.ldv, kvHead, first, rows);

  Int warpFirst = d.named("warp_first", first + d.warp() * 16);
  Int key[2] = {d.named("key", warpFirst + d.lane() / 4),
                d.named("key", warpFirst + d.lane() / 4 + 8)};
  Value keySums = warpSums(d, "dk_sums", shape.steps() * 16),
        valueSums = warpSums(d, "dv_sums", shape.steps() * 16);
  Int zero = d.constant(0);
  Int kPlace = d.keep("k_place", fragmentPlace(d, kTile.tile(), d.warp() * 16, false, true));
  Int qPlace = d.keep("q_place", fragmentPlace(d, qTile.tile(), zero, false, false));
  Int qDown = d.keep("q_down", fragmentPlace(d, qTile.tile(), zero, true, false));
  Int lastKey = d.named("last_key", min(rows, first + attentionRows) - 1);
  Int lastQuery = d.named("last_query", d.loadInt(rowEnds, {lastKey}));

  d.comment("the query heads that read this key head");
  d.loop("member", 0, shape.group(), 1, [&](Int member) {
    Int head = d.named("head", kvHead * shape.group() + member);
    d.comment("tiles of queries up to the end of the last key's sample");
    auto load = [&](Int query, Int buffer) {
      qTile.load(q, shape.ldq, head, query, rows, buffer);
      doTile.load(dout, lddo, head, query, rows, buffer);
      d.where(d.thread() < queries, [&] {
        Int row = d.named("row", query + d.thread()),
            place = d.named("place", buffer * queries + d.thread());
        Bool there = row < rows;
        Int position = d.loadIntWhere("position", there, positions, {row});
        Num logSum = d.loadWhere("lse_value", there, lse, {row * shape.ldl + head}) * log2e,
            mean = d.loadWhere("delta_value", there, delta, {row * shape.ldl + head});
        d.store(d.select(there, row - position, d.constant(INT32_MAX)), starts, {place});
        d.store(logSum, logSums, {place});
        d.store(mean, means, {place});
      });
    };
    walkTiles(d, "query", first, lastQuery, queries, load, [&](Int query, Int buffer) {
      Int begin = d.named("tile_begin", qTile.begin(buffer)), // do's is the same
          values = d.named("values", buffer * queries);
      Value scores = warpSums(d, "scores", queries), slopes = warpSums(d, "slopes", queries);
      multiplyRows(d, scores, queries, kTile.tile(), kPlace, qTile.tile(), qPlace + begin,
                   shape.steps());
      multiplyRows(d, slopes, queries, vTile.tile(), kPlace, doTile.tile(), qPlace + begin,
                   shape.steps());
      eachSum(d, queries, [&](Int j, int64_t e) {
        Int col = d.named("col", j * 8 + d.lane() % 4 * 2 + e % 2);
        Bool seen = d.loadInt(starts, {values + col}) <= key[e / 2] && key[e / 2] <= query + col;
        Num weight = d.named(
            "weight", d.select(seen,
                               d.exp2(d.loadNum(scores, {j, d.constant(e)}) * shape.scaleLog2() -
                                      d.loadNum(logSums, {values + col})),
                               d.number(0)));
        d.store(weight, scores, {j, d.constant(e)});
        d.store(weight * (d.loadNum(slopes, {j, d.constant(e)}) - d.loadNum(means, {values + col})),
                slopes, {j, d.constant(e)});
      });
      multiplyWeights(d, valueSums, shape.headDim, scores, queries, doTile.tile(), qDown + begin);
      multiplyWeights(d, keySums, shape.headDim, slopes, queries, qTile.tile(), qDown + begin);
    });
  });
  Num scale = d.number(shape.scale), one = d.number(1);
  storeHead(d, keySums, shape, dk, lddk, kvHead, warpFirst, rows, {scale, scale});
  storeHead(d, valueSums, shape, dv, lddv, kvHead, warpFirst, rows, {one, one});
  return success();
}

static Grid headGrid(DictionaryAttr params, const CudaTarget &, int64_t rows) {
  return {intParam(params, "heads"), ceilDiv(rows, attentionRows), 1};
}
static Grid kvGrid(DictionaryAttr params, const CudaTarget &, int64_t rows) {
  return {intParam(params, "kv_heads"), ceilDiv(rows, attentionRows), 1};
}

const Family lorac::cuda::attentionDeltaFamily = {
    "attention_delta", "delta[m, h] = Σ do·o over head h", rowGrid, buildDelta};
const Family lorac::cuda::attentionBackwardQFamily = {
    "attention_backward_q", "dq = scale·ds·k, ds = p·(do·vᵀ - delta), p = exp(scale·q·kᵀ - lse)",
    headGrid, buildQ};
const Family lorac::cuda::attentionBackwardKvFamily = {
    "attention_backward_kv",
    "dv = pᵀ·do, dk = scale·dsᵀ·q, summed over the heads that read the key head", kvGrid, buildKv};
