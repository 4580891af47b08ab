// Gradients of attention (Dao 2022, algorithm 4) without additions from several blocks to one
// place: each row's lse and delta = rowsum(do·o) first, then dq by blocks of queries and dk, dv
// by blocks of keys.
//   p = exp(scale·q·kᵀ - lse)
//   ds = p·(do·vᵀ - delta)
//   dq = scale·ds·k
//   dk = scale·dsᵀ·q
//   dv = pᵀ·do

#include "compiler/codegen/cuda/families/AttentionTile.h"
#include "compiler/codegen/cuda/families/Rows.h"

using namespace mlir;
using namespace lorac::cuda;

namespace lorac::cuda {
extern const Family attentionDeltaFamily, attentionBackwardQFamily, attentionBackwardKvFamily;
}

static constexpr double log2e = 1.4426950408889634;

namespace {
// What scores of a head's row are compared with: 16 bytes, those of a tile's rows side by side.
struct RowStats {
  // lse·log2 e; rowsum(do·o); the first row that it sees, as bits.
  enum { LogSum, Delta, Start, Numbers = 4 };
  int64_t rows; // that a head has room for

  explicit RowStats(Kernel &kernel) : rows(kernel.integer("rows")) {}
  Int place(Int head, Int row) const { return head * (Numbers * rows) + row * Numbers; }
};
} // namespace

static LogicalResult buildDelta(Kernel &kernel) {
  AttentionShape shape(kernel);
  RowStats rowStats(kernel);
  int64_t lddo = kernel.integer("lddo"), columns = shape.heads * shape.headDim;
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), rowThreads,
                  kernel.compute(),
                  {kernel.argument("o", 0), kernel.argument("dout", 1), kernel.argument("lse", 2),
                   kernel.argument("positions", 3), kernel.argument("row_stats", 4, true)});
  Value o = d.next(), dout = d.next(), lse = d.next(), positions = d.next(), stats = d.next();
  Int rows = d.rows(), firstRow = d.named("first_row", d.blockX() * rowsPerBlock),
      row = d.named("row", firstRow + d.warp());
  Value deltas = d.shared("deltas", shape.heads * rowsPerBlock, d.f32());
  auto keepDelta = [&](Bool leads, Int head, Num delta) {
    d.where(leads && head < shape.heads,
            [&] { d.store(delta, deltas, {head * rowsPerBlock + d.warp()}); });
  };
  int64_t lanes = shape.headDim / 8; // that share a head, eight columns each
  d.where(row < rows, [&] {
    if (shape.headDim % 8 == 0 && lanes <= 32 && 32 % lanes == 0) {
      Pieces pieces(d, columns);
      // All lanes take part in a shuffle: the last round has zeros behind the last head.
      int64_t round = 32 * Pieces::size;
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
               keepDelta(d.lane() % lanes == 0, d.named("head", col / shape.headDim), all);
             });
      return;
    }
    d.loop("head", 0, shape.heads, 1, [&](Int head) {
      Value sum = d.variable("sum", d.number(0));
      overColumns(d, shape.headDim, [&](Int col) {
        Int at = d.named("at", head * shape.headDim + col);
        d.set(sum, d.get(sum) +
                       d.loadNum(o, {row * shape.ldo + at}) * d.loadNum(dout, {row * lddo + at}));
      });
      keepDelta(d.lane() == 0, head, d.warpSum(d.get(sum)));
    });
  });
  d.barrier();
  d.comment("the block's rows of each head");
  d.loop("e", d.thread(), d.constant(shape.heads * rowsPerBlock), rowThreads, [&](Int e) {
    Int head = d.named("head", e / rowsPerBlock), at = d.named("at", firstRow + e % rowsPerBlock);
    d.where(at < rows, [&] {
      Value numbers = d.local("numbers", {RowStats::Numbers}, d.i32());
      d.store(d.bits(d.loadNum(lse, {at * shape.ldl + head}) * log2e), numbers,
              {d.constant(RowStats::LogSum)});
      d.store(d.bits(d.loadNum(deltas, {e})), numbers, {d.constant(RowStats::Delta)});
      d.store(firstSeen(shape, at, d.loadInt(positions, {at})), numbers,
              {d.constant(RowStats::Start)});
      d.store(d.constant(0), numbers, {d.constant(3)});
      d.copy(numbers, {d.constant(0)}, stats, {rowStats.place(head, at)}, 16);
    });
  });
  return success();
}

static LogicalResult buildQ(Kernel &kernel) {
  AttentionShape shape(kernel);
  RowStats rowStats(kernel);
  int64_t keys = shape.walked(), lddo = kernel.integer("lddo"), lddq = kernel.integer("lddq");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), attentionThreads,
                  kernel.compute(),
                  {kernel.argument("q", 0), kernel.argument("k", 1), kernel.argument("v", 2),
                   kernel.argument("row_stats", 3), kernel.argument("dout", 4),
                   kernel.argument("dq", 5, true)});
  Value q = d.next(), k = d.next(), v = d.next(), stats = d.next(), dout = d.next(), dq = d.next();
  Int rows = d.rows(), first = firstOfBlock(d, rows), head = d.named("head", d.blockX());
  Int kvHead = d.named("kv_head", head / shape.group());
  d.returnIf(first < 0);
  HeadTile qTile(d, "q_tile", shape, attentionRows), doTile(d, "do_tile", shape, attentionRows),
      kTile(d, "k_tile", shape, keys, 2), vTile(d, "v_tile", shape, keys, 2);
  qTile.load(q, shape.ldq, head, first, rows);
  doTile.load(dout, lddo, head, first, rows);

  Int warpFirst = d.named("warp_first", first + d.warp() * 16);
  SmallVector<Int> row, start;
  SmallVector<Num> logSum, delta;
  for (int64_t half = 0; half < 2; ++half) {
    row.push_back(d.named("row", warpFirst + d.lane() / 4 + half * 8));
    // Rows behind the last are as the last: nothing of theirs is stored.
    Int place = rowStats.place(head, min(row[half], rows - d.constant(1)));
    Value numbers = d.local("numbers", {RowStats::Numbers}, d.f32());
    d.copy(stats, {place}, numbers, {d.constant(0)}, 16);
    auto number = [&](int64_t which) { return d.loadNum(numbers, {d.constant(which)}); };
    logSum.push_back(d.named("log2_sum", number(RowStats::LogSum)));
    delta.push_back(d.named("delta", number(RowStats::Delta)));
    start.push_back(d.named("start", d.bits(number(RowStats::Start))));
  }
  Value sums = warpSums(d, "dq_sums", shape.steps() * 16);
  Int zero = d.constant(0);
  Int qPlace = d.keep("q_place", fragmentPlace(d, qTile.tile(), d.warp() * 16, false, true));
  Int kPlace = d.keep("k_place", fragmentPlace(d, kTile.tile(), zero, false, false));
  Int kDown = d.keep("k_down", fragmentPlace(d, kTile.tile(), zero, true, false));
  Int sample = d.bits(d.loadNum(stats, {rowStats.place(head, first) + RowStats::Start}));
  Int firstKey = d.named("first_key", sample / keys * keys);

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
                Score score = scoreOf(d, shape, d.loadNum(scores, {j, d.constant(e)}));
                Num weight = d.named("weight", d.exp2(score.log2 - logSum[e / 2]));
                Num slope = d.loadNum(slopes, {j, d.constant(e)}) - delta[e / 2];
                if (score.slope)
                  slope = slope * *score.slope;
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
  RowStats rowStats(kernel);
  int64_t queries = shape.walked(), lddo = kernel.integer("lddo"), lddk = kernel.integer("lddk"),
          lddv = kernel.integer("lddv");
  DeviceBuilder d(kernel.builder, kernel.op.getLoc(), kernel.op.getSymName(), attentionThreads,
                  kernel.compute(),
                  {kernel.argument("q", 0), kernel.argument("k", 1), kernel.argument("v", 2),
                   kernel.argument("row_ends", 3), kernel.argument("row_stats", 4),
                   kernel.argument("dout", 5), kernel.argument("dk", 6, true),
                   kernel.argument("dv", 7, true)});
  Value q = d.next(), k = d.next(), v = d.next(), rowEnds = d.next(), stats = d.next(),
        dout = d.next(), dk = d.next(), dv = d.next();
  Int rows = d.rows(), first = d.named("first_key", d.blockY() * attentionRows),
      kvHead = d.named("kv_head", d.blockX());
  d.returnIf(rows <= first);
  HeadTile kTile(d, "k_tile", shape, attentionRows), vTile(d, "v_tile", shape, attentionRows),
      qTile(d, "q_tile", shape, queries, 2), doTile(d, "do_tile", shape, queries, 2);
  Value statsTile = d.shared("stats_tile", 2 * queries * RowStats::Numbers, d.f32());
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
  Int end = d.loadInt(rowEnds, {lastKey}); // with a window a query behind it sees none of the keys
  Int lastQuery = d.named("last_query", shape.window ? min(end, lastKey + shape.window) : end);

  d.comment("the query heads that read this key head");
  d.loop("member", 0, shape.group(), 1, [&](Int member) {
    Int head = d.named("head", kvHead * shape.group() + member);
    d.comment("tiles of queries up to the end of the last key's sample");
    auto load = [&](Int query, Int buffer) {
      qTile.load(q, shape.ldq, head, query, rows, buffer);
      doTile.load(dout, lddo, head, query, rows, buffer);
      d.where(d.thread() < queries, [&] {
        // Behind the last row are zeros, as in the tiles: their weights meet zeros of do and q.
        Int own = d.keep("own", d.thread()), // no address waits in a register for the next head
            row = d.named("row", query + own);
        d.copyAsync(stats, rowStats.place(head, row), statsTile,
                    (buffer * queries + own) * RowStats::Numbers,
                    d.select(row < rows, d.constant(16), zero));
      });
    };
    walkTiles(d, "query", first, lastQuery, queries, load, [&](Int query, Int buffer) {
      Int begin = d.named("tile_begin", qTile.begin(buffer)), // do's is the same
          firstOfLane = d.named("first_of_lane", d.lane() % 4 * 2);
      Value scores = warpSums(d, "scores", queries), slopes = warpSums(d, "slopes", queries);
      multiplyRows(d, scores, queries, kTile.tile(), kPlace, qTile.tile(), qPlace + begin,
                   shape.steps());
      multiplyRows(d, slopes, queries, vTile.tile(), kPlace, doTile.tile(), qPlace + begin,
                   shape.steps());
      d.unrolled("j", queries / 8, [&](Int j) {
        Int col = d.named("col", j * 8 + firstOfLane), place = buffer * queries + col;
        Value numbers = d.local("numbers", {2, RowStats::Numbers}, d.f32());
        for (int64_t second = 0; second < 2; ++second)
          d.copy(statsTile, {(place + second) * RowStats::Numbers}, numbers,
                 {d.constant(second), zero}, 16);
        for (int64_t e = 0; e < 4; ++e) {
          auto number = [&](int64_t which) {
            return d.loadNum(numbers, {d.constant(e % 2), d.constant(which)});
          };
          Bool seen =
              d.bits(number(RowStats::Start)) <= key[e / 2] && key[e / 2] <= query + col + e % 2;
          Score score = scoreOf(d, shape, d.loadNum(scores, {j, d.constant(e)}));
          Num weight = d.named(
              "weight", d.select(seen, d.exp2(score.log2 - number(RowStats::LogSum)), d.number(0)));
          Num slope = d.loadNum(slopes, {j, d.constant(e)}) - number(RowStats::Delta);
          if (score.slope)
            slope = slope * *score.slope;
          d.store(weight, scores, {j, d.constant(e)});
          d.store(weight * slope, slopes, {j, d.constant(e)});
        }
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
    "attention_delta", "row_stats[h, m] = lse·log2 e, Σ do·o over head h, first row that m sees",
    rowGrid, buildDelta};
const Family lorac::cuda::attentionBackwardQFamily = {
    "attention_backward_q", "dq = scale·ds·k, ds = p·(do·vᵀ - delta), p = exp(scale·q·kᵀ - lse)",
    headGrid, buildQ};
const Family lorac::cuda::attentionBackwardKvFamily = {
    "attention_backward_kv",
    "dv = pᵀ·do, dk = scale·dsᵀ·q, summed over the heads that read the key head", kvGrid, buildKv};
