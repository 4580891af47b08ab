#include "compiler/codegen/cpu/families/ForwardTile.h"
#include "compiler/codegen/cpu/families/Columns.h"

using namespace mlir;
using namespace lorac::cpu;

using Values = KernelBuilder::Values;

ForwardTile::Scratch::Scratch(ScratchPlan &plan, const AttentionSizes &sizes)
    : queries(plan.take(blockRows * sizes.paddedDim)), scores(plan.take(blockRows * scoreColumns)),
      sums(plan.take(blockRows * sizes.paddedDim)), maxima(plan.take(blockRows)),
      totals(plan.take(blockRows)), shrinks(plan.take(blockRows)) {}

ForwardTile::ForwardTile(KernelBuilder &k, const AttentionSizes &sizes, const Scratch &at)
    : k(k), sizes(sizes) {
  queries = k.scratchF32(at.queries, {blockRows, sizes.paddedDim});
  scores = k.scratchF32(at.scores, {blockRows, scoreColumns});
  sums = k.scratchF32(at.sums, {blockRows, sizes.paddedDim});
  maxima = k.scratchF32(at.maxima, {blockRows});
  totals = k.scratchF32(at.totals, {blockRows});
  shrinks = k.scratchF32(at.shrinks, {blockRows});
}

void ForwardTile::emit(const HeadPlace &at) {
  place = at;
  Value zero = k.index(0), past = place.past, length = past ? k.add(past, place.rows) : place.rows;
  Value firstBlock = past ? k.mul(k.div(past, blockRows), blockRows) : zero;
  k.forLoop(firstBlock, length, blockRows, [&](Value block) {
    Value query = past ? k.max(block, past) : block;
    Value row = past ? k.sub(query, past) : query;
    BlockPair pair{query, k.sub(k.min(length, k.add(block, blockRows)), query), {}, {}};
    beginBlock(pair, row);
    Value first = firstKeyBlock(k, query, sizes.window);
    k.forLoop(first, k.add(query, pair.queries), blockRows, [&](Value key) {
      pair.key = key;
      pair.keys = k.min(k.sub(k.add(query, pair.queries), key), k.index(blockRows));
      blockScores(k, pair, queries, place.keys, sizes.dim, scores);
      exponentials(pair);
      weighKeys(k, pair, scores, place.values, sizes.paddedDim, sums);
    });
    endBlock(pair, row);
  });
}

void ForwardTile::beginBlock(const BlockPair &pair, Value row) {
  Value zero = k.index(0);
  Submatrix source{place.queries.memory, k.add(place.queries.row, row), place.queries.column};
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

// A maximum of no key. Finite where a block may hold none that a row sees, for the difference of
// two of them is taken.
double ForwardTile::least() const {
  return sizes.window ? -1e30 : -std::numeric_limits<double>::infinity();
}

// Row r of the scores capped, and -infinity before its window.
void ForwardTile::capAndBlank(const BlockPair &pair, Value r) {
  Value end = seenColumns(pair, r), none = k.splatF32(-std::numeric_limits<double>::infinity());
  Value before = sizes.window ? pair.beforeWindow(k, r, sizes.window) : Value();
  k.forLoop(k.index(0), end, k.lanes(), [&](Value n) {
    Value score = k.vload(scores, {r, n});
    if (sizes.softcap > 0)
      score = k.mulf(k.vtanh(k.divf(score, k.splatF32(sizes.softcap))), k.splatF32(sizes.softcap));
    if (before)
      score = k.select(k.mask(k.sub(before, n)), none, score);
    k.vstore(score, scores, {r, n});
  });
}

// The scores become exponentials under the new running maxima, zero behind the last key that a
// query sees.
void ForwardTile::exponentials(const BlockPair &pair) {
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

// Columns of row r that hold keys it sees, in whole vectors.
Value ForwardTile::seenColumns(const BlockPair &pair, Value r) {
  return k.mul(k.div(k.add(pair.seenBy(k, r), k.lanes() - 1), k.lanes()), k.lanes());
}

// The greatest score of row r; unseen keys of its last vector become -infinity, the next 8
// columns 0.
Value ForwardTile::maximum(const BlockPair &pair, Value r) {
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

void ForwardTile::addExponentials(const BlockPair &pair, Value r) {
  Value largest = k.broadcast(k.load(maxima, r)), end = seenColumns(pair, r);
  Value added = k.forLoop(k.index(0), end, k.lanes(), k.splatF32(0), [&](Value n, ValueRange sum) {
    Value weight = expOf(k, k.subf(k.vload(scores, {r, n}), largest), ExpRange::NotPositive);
    k.vstore(weight, scores, {r, n});
    return Values{k.addf(sum[0], weight)};
  })[0];
  k.store(k.addf(k.load(totals, r), k.reduceAdd(added)), totals, r);
}

void ForwardTile::endBlock(const BlockPair &pair, Value row) {
  Value zero = k.index(0);
  Submatrix target{place.outputs.memory, k.add(place.outputs.row, row), place.outputs.column};
  copyRows(k, {sums, zero, zero}, target, pair.queries, sizes.dim, sizes.dim,
           [&](Value r, Value values) {
             Value total = k.load(totals, r);
             return k.divf(values, isa<VectorType>(values.getType()) ? k.broadcast(total) : total);
           });
  if (!place.lse.memory)
    return;
  k.forLoop(zero, pair.queries, 1, [&](Value r) {
    Value lse = k.addf(k.load(maxima, r), logOf(k, k.load(totals, r)));
    k.store(lse, place.lse.memory, {k.add(k.add(place.lse.row, row), r), place.lse.column});
  });
}
