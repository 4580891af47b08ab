#include "compiler/codegen/cpu/families/Attention.h"

using namespace mlir;
using namespace lorac::cpu;

using Values = KernelBuilder::Values;

// Over a cache no kernel knows it.
static int64_t longestOf(DictionaryAttr params) {
  return params.contains("max_segment") ? intParam(params, "max_segment") : 1;
}

AttentionSizes::AttentionSizes(DictionaryAttr params)
    : heads(intParam(params, "heads")), kvHeads(intParam(params, "kv_heads")),
      dim(intParam(params, "head_dim")), paddedDim(roundUp(dim, 8)),
      panels(ceilDiv(longestOf(params), tileColumns)),
      longest(roundUp(longestOf(params), blockRows)), scale(floatParam(params, "scale")),
      window(params.contains("window") ? intParam(params, "window") : 0),
      softcap(params.contains("softcap") ? floatParam(params, "softcap") : 0) {}

LogicalResult lorac::cpu::checkAttention(Location loc, DictionaryAttr params) {
  int64_t heads = intParam(params, "heads"), kvHeads = intParam(params, "kv_heads");
  if (kvHeads < 1 || heads % kvHeads)
    return emitError(loc, "attention needs heads to be a multiple of kv_heads, got ")
           << heads << " and " << kvHeads;
  if (intParam(params, "head_dim") < 1 || longestOf(params) < 1)
    return emitError(loc, "attention needs head_dim and max_segment of at least 1");
  return success();
}

Value KeyPanels::panelOf(KernelBuilder &k, Value position) const {
  Value panel = k.mul(k.div(position, tileColumns), stride);
  return first ? k.add(first, panel) : panel;
}

SegmentTile::SegmentTile(KernelBuilder &k, Value tile, Value starts, int64_t count) {
  segment = k.div(tile, count);
  head = k.rem(tile, count);
  start = k.toIndex(k.load(starts, segment));
  length = k.sub(k.toIndex(k.load(starts, k.add(segment, 1))), start);
}

CachedHead::CachedHead(KernelBuilder &k, const SegmentTile &segment, unsigned keys,
                       unsigned positions, DictionaryAttr params, int64_t group) {
  const int64_t kvHeads = intParam(params, "kv_heads"), dim = intParam(params, "head_dim");
  Value head = group == 1 ? segment.head : k.div(segment.head, group);
  Value first = k.mul(segment.segment, k.param("positions")); // of the sequence
  this->keys = {k.buffer(keys), k.add(k.mul(k.div(first, tileColumns), kvHeads), head), kvHeads};
  values = {k.buffer(keys + 1), first, k.mul(head, roundUp(dim, 8))};
  past = k.toIndex(k.load(k.buffer(positions), segment.start));
}

SmallVector<MemRefType> CachedHead::types(MLIRContext *context, DictionaryAttr params) {
  const int64_t dim = intParam(params, "head_dim");
  Type f32 = Float32Type::get(context);
  return {KernelBuilder::dense({manyRows, dim, tileColumns}, f32),
          KernelBuilder::dense({manyRows, intParam(params, "ldc")}, f32)};
}

Value BlockPair::seenBy(KernelBuilder &k, Value r) const {
  return k.min(keys, k.sub(k.add(k.add(query, r), 1), key));
}

Value BlockPair::beforeWindow(KernelBuilder &k, Value r, int64_t window) const {
  return k.max(k.sub(k.sub(k.add(query, r), window - 1), key), k.index(0));
}

Value lorac::cpu::firstKeyBlock(KernelBuilder &k, Value query, int64_t window) {
  if (window == 0)
    return k.index(0);
  Value first = k.max(k.sub(query, window - 1), k.index(0));
  return k.mul(k.div(first, blockRows), blockRows);
}

int64_t lorac::cpu::mostKeys(DictionaryAttr params, int64_t rows) {
  int64_t keys = std::min(rows, intParam(params, "max_segment"));
  return params.contains("window") ? std::min(keys, intParam(params, "window")) : keys;
}

void lorac::cpu::blockScores(KernelBuilder &k, const BlockPair &pair, Value a,
                             const KeyPanels &packed, int64_t columns, Value scores) {
  int64_t rows = tileRows(k), vectors = tileColumns / k.lanes();
  k.forLoop(k.index(0), pair.keys, tileColumns, [&](Value strip) {
    Value key = k.add(pair.key, strip), panel = packed.panelOf(k, key);
    // The first tile of rows with a query that sees the strip's first key.
    Value first = k.mul(k.div(k.max(k.sub(key, pair.query), k.index(0)), rows), rows);
    k.forLoop(first, pair.queries, rows, [&](Value m) {
      Values sums = accumulate(
          k, rows, vectors, k.index(0), k.index(columns), columns,
          Values(rows * vectors, k.splatF32(0)),
          [&](int64_t r, Value c) { return k.load(a, {k.add(m, r), c}); },
          [&](int64_t v, Value c) {
            return k.vload(packed.memory, {panel, c, k.index(v * k.lanes())});
          });
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t v = 0; v < vectors; ++v)
          k.vstore(sums[r * vectors + v], scores, {k.add(m, r), k.add(strip, v * k.lanes())});
    });
  });
}

void lorac::cpu::weighKeys(KernelBuilder &k, const BlockPair &pair, Value weights,
                           const Submatrix &keyRows, int64_t columns, Value target) {
  int64_t rows = tileRows(k);
  Submatrix values{keyRows.memory, k.add(keyRows.row, pair.key), keyRows.column},
      sums{target, k.index(0), k.index(0)};
  k.forLoop(k.index(0), pair.queries, rows, [&](Value m) {
    Value seen = pair.seenBy(k, k.add(m, rows - 1));
    accumulateRows(
        k, m, columns, k.index(0), seen,
        [&](int64_t r, Value n) { return k.load(weights, {k.add(m, r), n}); }, values, sums);
  });
}
