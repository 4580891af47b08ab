// o = softmax(scale·q·kᵀ below the diagonal)·v for one head of one segment, in blocks with a
// running maximum and sum (Dao 2022, algorithm 1). Keys are packed once a tile, so that vectors run
// over keys; values and queries are copied to rows of their own, so that no leading dimension makes
// them meet in the cache. Blocks before the window of all their queries are not visited.

#include "compiler/codegen/cpu/families/Attention.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family attentionForwardFamily;
}

namespace {

struct ForwardScratch {
  explicit ForwardScratch(const AttentionSizes &sizes)
      : keys(plan.take(sizes.panels * sizes.dim * tileColumns)),
        values(plan.take(sizes.longest * sizes.paddedDim)),
        queries(plan.take(blockRows * sizes.paddedDim)),
        scores(plan.take(blockRows * scoreColumns)), sums(plan.take(blockRows * sizes.paddedDim)),
        maxima(plan.take(blockRows)), totals(plan.take(blockRows)), shrinks(plan.take(blockRows)) {}
  ScratchPlan plan;
  int64_t keys, values, queries, scores, sums, maxima, totals, shrinks;
};

class ForwardTile {
public:
  ForwardTile(KernelBuilder &k, const AttentionSizes &sizes, Value tile)
      : k(k), sizes(sizes), segment(k, tile, k.buffer(3), sizes.heads) {
    ForwardScratch at(sizes);
    keys = k.scratchF32(at.keys, {sizes.panels, sizes.dim, tileColumns});
    values = k.scratchF32(at.values, {sizes.longest, sizes.paddedDim});
    queries = k.scratchF32(at.queries, {blockRows, sizes.paddedDim});
    scores = k.scratchF32(at.scores, {blockRows, scoreColumns});
    sums = k.scratchF32(at.sums, {blockRows, sizes.paddedDim});
    maxima = k.scratchF32(at.maxima, {blockRows});
    totals = k.scratchF32(at.totals, {blockRows});
    shrinks = k.scratchF32(at.shrinks, {blockRows});
  }

  void emit() {
    Value zero = k.index(0), keyColumn = k.mul(k.div(segment.head, sizes.group()), sizes.dim);
    packKeys(k, {k.buffer(1), segment.start, keyColumn}, segment.length, sizes.dim, keys);
    copyRows(k, {k.buffer(2), segment.start, keyColumn}, {values, zero, zero}, segment.length,
             sizes.dim, sizes.paddedDim);
    k.forLoop(zero, segment.length, blockRows, [&](Value query) {
      BlockPair pair{query, k.min(k.sub(segment.length, query), k.index(blockRows)), {}, {}};
      beginBlock(pair);
      Value first = firstKeyBlock(k, query, sizes.window);
      k.forLoop(first, k.add(query, pair.queries), blockRows, [&](Value key) {
        pair.key = key;
        pair.keys = k.min(k.sub(k.add(query, pair.queries), key), k.index(blockRows));
        blockScores(k, pair, queries, keys, sizes.dim, scores);
        exponentials(pair);
        weighKeys(k, pair, scores, values, sizes.paddedDim, sums);
      });
      endBlock(pair);
    });
  }

private:
  Submatrix output(const BlockPair &pair) {
    return {k.buffer(4), k.add(segment.start, pair.query), k.mul(segment.head, sizes.dim)};
  }

  void beginBlock(const BlockPair &pair) {
    Value zero = k.index(0);
    Submatrix source{k.buffer(0), k.add(segment.start, pair.query), k.mul(segment.head, sizes.dim)};
    copyRows(k, source, {queries, zero, zero}, pair.queries, sizes.dim, sizes.paddedDim,
             [&](Value, Value values) {
               bool vector = isa<VectorType>(values.getType());
               return k.mulf(values, vector ? k.splatF32(sizes.scale) : k.constF32(sizes.scale));
             });
    zeroRows(k, {sums, zero, zero}, k.index(blockRows), sizes.paddedDim);
    k.forLoop(zero, k.index(blockRows), k.lanes(), [&](Value r) {
      k.vstore(k.splatF32(least()), maxima, r);
      k.vstore(k.splatF32(0), totals, r);
    });
  }

  /// A maximum of no key. Finite where a block may hold none that a row sees, for the difference of
  /// two of them is taken.
  double least() const { return sizes.window ? -1e30 : -std::numeric_limits<double>::infinity(); }

  /// Row r of the scores capped, and -infinity before its window.
  void capAndBlank(const BlockPair &pair, Value r) {
    Value end = seenColumns(pair, r), none = k.splatF32(-std::numeric_limits<double>::infinity());
    Value before = sizes.window ? pair.beforeWindow(k, r, sizes.window) : Value();
    k.forLoop(k.index(0), end, k.lanes(), [&](Value n) {
      Value score = k.vload(scores, {r, n});
      if (sizes.softcap > 0)
        score =
            k.mulf(k.vtanh(k.divf(score, k.splatF32(sizes.softcap))), k.splatF32(sizes.softcap));
      if (before)
        score = k.select(k.mask(k.sub(before, n)), none, score);
      k.vstore(score, scores, {r, n});
    });
  }

  /// The scores become exponentials under the new running maxima, zero behind the last key that a
  /// query sees.
  void exponentials(const BlockPair &pair) {
    Value zero = k.index(0);
    k.forLoop(zero, pair.queries, 1, [&](Value r) {
      if (sizes.window || sizes.softcap > 0)
        capAndBlank(pair, r);
      k.store(maximum(pair, r), shrinks, r);
    });
    k.forLoop(zero, k.index(blockRows), k.lanes(), [&](Value r) {
      Value before = k.vload(maxima, r), now = k.maxf(k.vload(shrinks, r), before);
      Value shrink = expOf(k, k.subf(before, now), ExpRange::NotPositive);
      k.vstore(now, maxima, r);
      k.vstore(shrink, shrinks, r);
      k.vstore(k.mulf(k.vload(totals, r), shrink), totals, r);
    });
    k.forLoop(zero, pair.queries, 1, [&](Value r) {
      addExponentials(pair, r);
      Value shrink = k.load(shrinks, r);
      Value moved = k.cmpf(arith::CmpFPredicate::UNE, shrink, k.constF32(1.0));
      k.ifThen(k.andi(moved, k.less(zero, pair.key)), [&] {
        Value factor = k.broadcast(shrink);
        k.forLoop(zero, k.index(sizes.paddedDim), k.lanes(), [&](Value column) {
          k.vstore(k.mulf(k.vload(sums, {r, column}), factor), sums, {r, column});
        });
      });
    });
  }

  /// Columns of row r that hold keys it sees, in whole vectors.
  Value seenColumns(const BlockPair &pair, Value r) {
    return k.mul(k.div(k.add(pair.seenBy(k, r), k.lanes() - 1), k.lanes()), k.lanes());
  }

  /// The greatest score of row r; unseen keys of its last vector become -infinity, the next 8
  /// columns 0.
  Value maximum(const BlockPair &pair, Value r) {
    Value none = k.splatF32(-std::numeric_limits<double>::infinity());
    Value end = seenColumns(pair, r), last = k.sub(end, k.lanes());
    Value tail = k.select(k.mask(k.sub(pair.seenBy(k, r), last)), k.vload(scores, {r, last}), none);
    k.vstore(tail, scores, {r, last});
    for (int64_t zeros = 0; zeros < 8; zeros += k.lanes())
      k.vstore(k.splatF32(0), scores, {r, k.add(end, zeros)});
    return k.reduceMax(k.forLoop(k.index(0), last, k.lanes(), tail, [&](Value n, ValueRange best) {
      return Values{k.maxf(k.vload(scores, {r, n}), best[0])};
    })[0]);
  }

  void addExponentials(const BlockPair &pair, Value r) {
    Value largest = k.broadcast(k.load(maxima, r)), end = seenColumns(pair, r);
    Value added =
        k.forLoop(k.index(0), end, k.lanes(), k.splatF32(0), [&](Value n, ValueRange sum) {
          Value weight = expOf(k, k.subf(k.vload(scores, {r, n}), largest), ExpRange::NotPositive);
          k.vstore(weight, scores, {r, n});
          return Values{k.addf(sum[0], weight)};
        })[0];
    k.store(k.addf(k.load(totals, r), k.reduceAdd(added)), totals, r);
  }

  void endBlock(const BlockPair &pair) {
    Value zero = k.index(0);
    copyRows(k, {sums, zero, zero}, output(pair), pair.queries, sizes.dim, sizes.dim,
             [&](Value r, Value values) {
               Value total = k.load(totals, r);
               return k.divf(values,
                             isa<VectorType>(values.getType()) ? k.broadcast(total) : total);
             });
    k.forLoop(zero, pair.queries, 1, [&](Value r) {
      Value lse = k.addf(k.load(maxima, r), logOf(k, k.load(totals, r)));
      k.store(lse, k.buffer(5), {k.add(k.add(segment.start, pair.query), r), segment.head});
    });
  }

  using Values = KernelBuilder::Values;
  KernelBuilder &k;
  const AttentionSizes &sizes;
  SegmentTile segment;
  Value keys, values, queries, scores, sums, maxima, totals, shrinks;
};

} // namespace

static FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  if (failed(checkAttention(loc, params)))
    return failure();
  AttentionSizes sizes(params);
  return KernelShape{.space = lora::TileSpace::Segments,
                     .count = sizes.heads,
                     .scratch = ForwardScratch(sizes).plan.total()};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  auto activation = [&](StringRef ld) {
    return KernelBuilder::activation(context, kernel.intParam(ld));
  };
  KernelBuilder k(kernel, builder, target,
                  {activation("ldq"), activation("ldk"), activation("ldv"),
                   KernelBuilder::dense({manyRows}, IntegerType::get(context, 32)),
                   activation("ldo"), activation("ldl")});
  AttentionSizes sizes(kernel.getParams());
  k.forLoop(k.begin(), k.end(), 1, [&](Value tile) { ForwardTile(k, sizes, tile).emit(); });
  return success();
}

/// As if all rows were in segments of the longest length.
static int64_t flops(DictionaryAttr params, int64_t rows) {
  return 2 * rows * (mostKeys(params, rows) + 1) * intParam(params, "heads") *
         intParam(params, "head_dim");
}

const Family lorac::cpu::attentionForwardFamily = {
    "attention_forward",
    "o = softmax(scale·q·kᵀ + causal mask)·v, lse = log Σ exp, inside each segment", describe,
    build, flops};
