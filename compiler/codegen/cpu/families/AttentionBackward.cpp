// Gradients of attention (Dao 2022, algorithm 4):
//   p = exp(scale·q·kᵀ - lse)
//   ds = scale·p·(do·vᵀ - rowsum(do·o))
//   dq = ds·k
//   dk = dsᵀ·q
//   dv = pᵀ·do
// A tile is one key head of one segment: the query heads of its group follow one another. Sums over
// queries read p and ds by columns, so nothing is transposed but keys and values, once a tile.

#include "compiler/codegen/cpu/families/Attention.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family attentionBackwardFamily;
}

namespace {

struct BackwardScratch {
  explicit BackwardScratch(const AttentionSizes &sizes)
      : packedKeys(plan.take(sizes.panels * sizes.dim * tileColumns)),
        packedValues(plan.take(sizes.panels * sizes.dim * tileColumns)),
        keys(plan.take(sizes.longest * sizes.paddedDim)),
        dKeys(plan.take(sizes.longest * sizes.paddedDim)),
        dValues(plan.take(sizes.longest * sizes.paddedDim)),
        queries(plan.take(blockRows * sizes.paddedDim)),
        dOutput(plan.take(blockRows * sizes.paddedDim)),
        dQueries(plan.take(blockRows * sizes.paddedDim)),
        weights(plan.take(blockRows * scoreColumns)), dScores(plan.take(blockRows * scoreColumns)),
        deltas(plan.take(blockRows)) {}
  ScratchPlan plan;
  int64_t packedKeys, packedValues, keys, dKeys, dValues, queries, dOutput, dQueries, weights,
      dScores, deltas;
};

enum Buffer { Q, K, V, Starts, O, Lse, DO, DQ, DK, DV };

class BackwardTile {
public:
  BackwardTile(KernelBuilder &k, const AttentionSizes &sizes, Value tile)
      : k(k), sizes(sizes), segment(k, tile, k.buffer(Starts), sizes.kvHeads), zero(k.index(0)) {
    BackwardScratch at(sizes);
    auto rows = [&](int64_t offset, int64_t count) {
      return k.scratchF32(offset, {count, sizes.paddedDim});
    };
    auto panels = [&](int64_t offset) {
      return k.scratchF32(offset, {sizes.panels, sizes.dim, tileColumns});
    };
    packedKeys = panels(at.packedKeys);
    packedValues = panels(at.packedValues);
    keys = rows(at.keys, sizes.longest);
    dKeys = rows(at.dKeys, sizes.longest);
    dValues = rows(at.dValues, sizes.longest);
    queries = rows(at.queries, blockRows);
    dOutput = rows(at.dOutput, blockRows);
    dQueries = rows(at.dQueries, blockRows);
    weights = k.scratchF32(at.weights, {blockRows, scoreColumns});
    dScores = k.scratchF32(at.dScores, {blockRows, scoreColumns});
    deltas = k.scratchF32(at.deltas, {blockRows});
  }

  void emit() {
    Value keyColumn = k.mul(segment.head, sizes.dim);
    auto place = [&](Buffer buffer) {
      return Submatrix{k.buffer(buffer), segment.start, keyColumn};
    };
    packKeys(k, place(K), segment.length, sizes.dim, packedKeys);
    packKeys(k, place(V), segment.length, sizes.dim, packedValues);
    copyRows(k, place(K), top(keys), segment.length, sizes.dim, sizes.paddedDim);
    zeroRows(k, top(dKeys), segment.length, sizes.paddedDim);
    zeroRows(k, top(dValues), segment.length, sizes.paddedDim);
    Value firstHead = k.mul(segment.head, sizes.group());
    k.forLoop(firstHead, k.add(firstHead, sizes.group()), 1, [&](Value head) {
      k.forLoop(zero, segment.length, blockRows, [&](Value query) { queryBlock(head, query); });
    });
    copyRows(k, top(dKeys), place(DK), segment.length, sizes.dim, sizes.dim);
    copyRows(k, top(dValues), place(DV), segment.length, sizes.dim, sizes.dim);
  }

private:
  Submatrix top(Value memory) { return {memory, zero, zero}; }

  void queryBlock(Value head, Value query) {
    BlockPair pair{query, k.min(k.sub(segment.length, query), k.index(blockRows)), {}, {}};
    Value row = k.add(segment.start, query), column = k.mul(head, sizes.dim);
    copyRows(k, {k.buffer(Q), row, column}, top(queries), pair.queries, sizes.dim, sizes.paddedDim);
    copyRows(k, {k.buffer(DO), row, column}, top(dOutput), pair.queries, sizes.dim,
             sizes.paddedDim);
    zeroRows(k, top(dQueries), k.index(blockRows), sizes.paddedDim);
    k.forLoop(zero, pair.queries, 1,
              [&](Value r) { delta({k.buffer(O), k.add(row, r), column}, r); });
    Value first = firstKeyBlock(k, query, sizes.window);
    k.forLoop(first, k.add(query, pair.queries), blockRows, [&](Value key) {
      pair.key = key;
      pair.keys = k.min(k.sub(k.add(query, pair.queries), key), k.index(blockRows));
      blockScores(k, pair, queries, {packedKeys}, sizes.dim, weights);
      blockScores(k, pair, dOutput, {packedValues}, sizes.dim, dScores);
      k.forLoop(zero, pair.queries, 1, [&](Value r) {
        Value lse = k.load(k.buffer(Lse), {k.add(row, r), head});
        weightsAndGradients(pair, r, k.broadcast(k.negf(lse)), k.broadcast(k.load(deltas, r)));
      });
      weighQueries(pair, weights, dOutput, dValues);
      weighQueries(pair, dScores, queries, dKeys);
      weighKeys(k, pair, dScores, top(keys), sizes.paddedDim, dQueries);
    });
    copyRows(k, top(dQueries), {k.buffer(DQ), row, column}, pair.queries, sizes.dim, sizes.dim);
  }

  /// deltas[r] = Σ do·o.
  void delta(const Submatrix &output, Value r) {
    int64_t whole = sizes.dim / k.lanes() * k.lanes();
    Value sum = k.constF32(0);
    if (whole > 0)
      sum = k.reduceAdd(k.forLoop(zero, k.index(whole), k.lanes(), k.splatF32(0),
                                  [&](Value column, ValueRange sum) {
                                    Value o = k.vload(output.memory, output.at(k, zero, column));
                                    return Values{k.fma(o, k.vload(dOutput, {r, column}), sum[0])};
                                  })[0]);
    if (whole < sizes.dim)
      sum =
          k.forLoop(k.index(whole), k.index(sizes.dim), 1, sum, [&](Value column, ValueRange sum) {
            Value o = k.load(output.memory, output.at(k, zero, column));
            return Values{k.fma(o, k.load(dOutput, {r, column}), sum[0])};
          })[0];
    k.store(sum, deltas, r);
  }

  /// Row r: weights from scores, gradients of the scores from those of the weights; zero behind the
  /// last key seen.
  void weightsAndGradients(const BlockPair &pair, Value r, Value minusLse, Value delta) {
    int64_t lanes = k.lanes();
    Value scale = k.splatF32(sizes.scale), none = k.splatF32(0);
    Value before = sizes.window ? pair.beforeWindow(k, r, sizes.window) : Value();
    auto visit = [&](Value n, Value live) {
      Value score = k.vload(weights, {r, n}), exponent, slope;
      if (sizes.softcap > 0) {
        Value capped = k.vtanh(k.divf(k.mulf(score, scale), k.splatF32(sizes.softcap)));
        exponent = k.fma(capped, k.splatF32(sizes.softcap), minusLse);
        slope = k.subf(k.splatF32(1), k.mulf(capped, capped));
      } else {
        exponent = k.fma(score, scale, minusLse);
      }
      Value weight = expOf(k, exponent, ExpRange::NotPositive);
      Value gradient = k.mulf(k.mulf(weight, scale), k.subf(k.vload(dScores, {r, n}), delta));
      if (slope)
        gradient = k.mulf(gradient, slope);
      if (before) {
        Value hidden = k.mask(k.sub(before, n));
        weight = k.select(hidden, none, weight), gradient = k.select(hidden, none, gradient);
      }
      k.vstore(live ? k.select(live, weight, none) : weight, weights, {r, n});
      k.vstore(live ? k.select(live, gradient, none) : gradient, dScores, {r, n});
    };
    Value seen = pair.seenBy(k, r);
    Value end = k.mul(k.div(k.add(seen, lanes - 1), lanes), lanes), last = k.sub(end, lanes);
    k.forLoop(zero, last, lanes, [&](Value n) { visit(n, Value()); });
    visit(last, k.mask(k.sub(seen, last)));
    for (int64_t zeros = 0; zeros < 8; zeros += lanes) {
      k.vstore(none, weights, {r, k.add(end, zeros)});
      k.vstore(none, dScores, {r, k.add(end, zeros)});
    }
  }

  /// target[key + n] += Σ_{queries that see the tile of keys} factors[m, n]·queryRows[m].
  void weighQueries(const BlockPair &pair, Value factors, Value queryRows, Value target) {
    int64_t rows = tileRows(k);
    k.forLoop(zero, pair.keys, rows, [&](Value n) {
      Value first = k.max(k.sub(k.add(pair.key, n), pair.query), zero);
      accumulateRows(k, n, sizes.paddedDim, first, pair.queries,
                     [&](int64_t r, Value m) { return k.load(factors, {m, k.add(n, r)}); },
                     top(queryRows), {target, pair.key, zero});
    });
  }

  using Values = KernelBuilder::Values;
  KernelBuilder &k;
  const AttentionSizes &sizes;
  SegmentTile segment;
  Value zero;
  Value packedKeys, packedValues, keys, dKeys, dValues, queries, dOutput, dQueries, weights,
      dScores, deltas;
};

} // namespace

static FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  if (failed(checkAttention(loc, params)))
    return failure();
  AttentionSizes sizes(params);
  return KernelShape{.space = lora::TileSpace::Segments,
                     .count = sizes.kvHeads,
                     .scratch = BackwardScratch(sizes).plan.total()};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  SmallVector<MemRefType> buffers;
  for (StringRef ld : {"ldq", "ldk", "ldv", "", "ldo", "ldl", "lddo", "lddq", "lddk", "lddv"})
    buffers.push_back(ld.empty() ? KernelBuilder::dense({manyRows}, IntegerType::get(context, 32))
                                 : KernelBuilder::activation(context, kernel.intParam(ld)));
  KernelBuilder k(kernel, builder, target, buffers);
  AttentionSizes sizes(kernel.getParams());
  k.forLoop(k.begin(), k.end(), 1, [&](Value tile) { BackwardTile(k, sizes, tile).emit(); });
  return success();
}

/// As if all rows were in segments of the longest length.
static int64_t flops(DictionaryAttr params, int64_t rows) {
  return 5 * rows * (mostKeys(params, rows) + 1) * intParam(params, "heads") *
         intParam(params, "head_dim");
}

const Family lorac::cpu::attentionBackwardFamily = {
    "attention_backward",
    "p = exp(scale·q·kᵀ - lse), dv = pᵀ·do, ds = scale·p·(do·vᵀ - rowsum(do·o)), dq = ds·k, dk = "
    "dsᵀ·q",
    describe, build, flops};
