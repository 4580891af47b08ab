// The keys and values of new rows go to their positions in the cache: keys into panels of 16
// positions, so that attention's vectors run over keys.

#include "compiler/codegen/cpu/families/Attention.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family cacheRowsFamily;
}

static FailureOr<KernelShape> describe(Location, DictionaryAttr params, const CpuTarget &) {
  return KernelShape{.space = lora::TileSpace::Segments, .count = intParam(params, "kv_heads")};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  const DictionaryAttr params = kernel.getParams();
  const MemRefType integers = KernelBuilder::dense({manyRows}, IntegerType::get(context, 32));
  SmallVector<MemRefType> buffers{KernelBuilder::activation(context, kernel.intParam("ldk")),
                                  KernelBuilder::activation(context, kernel.intParam("ldv")),
                                  integers, integers};
  llvm::append_range(buffers, CachedHead::types(context, params));
  enum { K, V, Starts, Positions, Keys };
  KernelBuilder k(kernel, builder, target, buffers);
  const int64_t dim = kernel.intParam("head_dim");
  k.forLoop(k.begin(), k.end(), 1, [&](Value tile) {
    SegmentTile segment(k, tile, k.buffer(Starts), kernel.intParam("kv_heads"));
    k.ifThen(k.less(k.index(0), segment.length), [&] {
      const CachedHead cache(k, segment, Keys, Positions, params, /*group=*/1);
      Value zero = k.index(0), column = k.mul(segment.head, dim);
      k.forLoop(zero, segment.length, 1, [&](Value row) {
        Value position = k.add(cache.past, row), panel = cache.keys.panelOf(k, position),
              lane = k.rem(position, tileColumns), from = k.add(segment.start, row);
        k.forLoop(zero, k.index(dim), 1, [&](Value c) {
          k.store(k.load(k.buffer(K), {from, k.add(column, c)}), cache.keys.memory,
                  {panel, c, lane});
        });
      });
      const Submatrix &values = cache.values;
      copyRows(k, {k.buffer(V), segment.start, column},
               {values.memory, k.add(values.row, cache.past), values.column}, segment.length, dim,
               roundUp(dim, 8));
    });
  });
  return success();
}

const Family lorac::cpu::cacheRowsFamily = {
    "cache_rows", "keys and values of new rows, put at their positions in the cache", describe,
    build, [](DictionaryAttr, int64_t) -> int64_t { return 0; }};
