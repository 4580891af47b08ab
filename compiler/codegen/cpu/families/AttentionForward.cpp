// o = softmax(scale·q·kᵀ below the diagonal)·v for one head of one segment. Keys are packed once a
// tile, so that vectors run over keys; values and queries are copied to rows of their own, so that
// no leading dimension makes them meet in the cache.

#include "compiler/codegen/cpu/families/ForwardTile.h"

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
        values(plan.take(sizes.longest * sizes.paddedDim)), tile(plan, sizes) {}
  ScratchPlan plan;
  int64_t keys, values;
  ForwardTile::Scratch tile;
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
  ForwardScratch at(sizes);
  k.forLoop(k.begin(), k.end(), 1, [&](Value tile) {
    SegmentTile segment(k, tile, k.buffer(3), sizes.heads);
    Value keys = k.scratchF32(at.keys, {sizes.panels, sizes.dim, tileColumns});
    Value values = k.scratchF32(at.values, {sizes.longest, sizes.paddedDim});
    ForwardTile blocks(k, sizes, at.tile);
    Value zero = k.index(0), column = k.mul(segment.head, sizes.dim),
          keyColumn = k.mul(k.div(segment.head, sizes.group()), sizes.dim);
    packKeys(k, {k.buffer(1), segment.start, keyColumn}, segment.length, sizes.dim, keys);
    copyRows(k, {k.buffer(2), segment.start, keyColumn}, {values, zero, zero}, segment.length,
             sizes.dim, sizes.paddedDim);
    blocks.emit({.queries = {k.buffer(0), segment.start, column},
                 .outputs = {k.buffer(4), segment.start, column},
                 .keys = {keys},
                 .values = {values, zero, zero},
                 .rows = segment.length,
                 .past = {},
                 .lse = {k.buffer(5), segment.start, segment.head}});
  });
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
