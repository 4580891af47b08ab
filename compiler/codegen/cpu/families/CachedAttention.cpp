// o = softmax(scale·q·kᵀ)·v for the new rows of each sequence, over the keys and values of its
// cache: attention_forward's blocks, which begin at the same positions, so its numbers too.

#include "compiler/codegen/cpu/families/ForwardTile.h"

using namespace mlir;
using namespace lorac;
using namespace lorac::cpu;

namespace lorac::cpu {
extern const Family cachedAttentionFamily;
}

static FailureOr<KernelShape> describe(Location loc, DictionaryAttr params, const CpuTarget &) {
  if (failed(checkAttention(loc, params)))
    return failure();
  AttentionSizes sizes(params);
  ScratchPlan plan;
  ForwardTile::Scratch(plan, sizes);
  return KernelShape{
      .space = lora::TileSpace::Segments, .count = sizes.heads, .scratch = plan.total()};
}

static LogicalResult build(lora::KernelOp kernel, OpBuilder &builder, const CpuTarget &target) {
  MLIRContext *context = kernel.getContext();
  const DictionaryAttr params = kernel.getParams();
  const MemRefType integers = KernelBuilder::dense({manyRows}, IntegerType::get(context, 32));
  SmallVector<MemRefType> buffers{KernelBuilder::activation(context, kernel.intParam("ldq"))};
  llvm::append_range(buffers, CachedHead::types(context, params));
  buffers.append({integers, integers, KernelBuilder::activation(context, kernel.intParam("ldo"))});
  enum { Q, Keys, Values, Starts, Positions, O };
  KernelBuilder k(kernel, builder, target, buffers);
  AttentionSizes sizes(params);
  ScratchPlan plan;
  const ForwardTile::Scratch scratch(plan, sizes);
  k.forLoop(k.begin(), k.end(), 1, [&](Value tile) {
    SegmentTile segment(k, tile, k.buffer(Starts), sizes.heads);
    k.ifThen(k.less(k.index(0), segment.length), [&] {
      const CachedHead cache(k, segment, Keys, Positions, params, sizes.group());
      Value column = k.mul(segment.head, sizes.dim);
      ForwardTile(k, sizes, scratch)
          .emit({.queries = {k.buffer(Q), segment.start, column},
                 .outputs = {k.buffer(O), segment.start, column},
                 .keys = cache.keys,
                 .values = cache.values,
                 .rows = segment.length,
                 .past = cache.past,
                 .lse = {}});
    });
  });
  return success();
}

const Family lorac::cpu::cachedAttentionFamily = {
    "cached_attention", "o = softmax(scale·q·kᵀ + causal mask)·v, over each sequence's cache",
    describe, build, [](DictionaryAttr, int64_t) -> int64_t { return 0; }};
