#include "compiler/codegen/cuda/families/WarpgroupTile.h"

using namespace mlir;
using namespace lorac::cuda;

WarpgroupTile::WarpgroupTile(DeviceBuilder &d, const TileShape &shape) : WarpTile(d, shape) {
  assert(shape.warpgroups && shape.warpCols == shape.cols &&
         (shape.cols == 128 || shape.cols == 256) &&
         "a warpgroup's instruction has all of a block's columns");
}

void WarpgroupTile::prepareAsync(const SwizzledTile &a, const SwizzledTile &b, bool transposed) {
  assert(a.width == 64 && b.width == 64 && (!transposed || b.blockRows == 64));
  bTransposed = transposed;
  Int group = d.named("group", d.thread() / 128);
  aDescriptor = d.keep("a_descriptor",
                       d.descriptor("a_begin", a.bytes, group * (shape.warpRows * 4 * 128), 16));
  bDescriptor = d.keep("b_descriptor", d.descriptor("b_begin", b.bytes, d.constant(0),
                                                    transposed ? b.blockBytes() : 16));
}

// 16 of the depth are 32 bytes of a row, or 16 rows; 64 rows of a are 8 KiB.
void WarpgroupTile::issue(Int aFrom, Int bFrom) {
  Int aAt = d.named("a_low", *aDescriptor + aFrom / 16),
      bAt = d.named("b_low", *bDescriptor + bFrom / 16);
  d.warpgroupFence(sumsArray);
  d.unrolled("k", 4, [&](Int k) {
    d.unrolled("i", shape.warpRows / 16, [&](Int i) {
      d.warpgroupMma(sumsArray, {i}, aAt + k * 2 + i * (64 * 128 / 16),
                     bAt + k * (bTransposed ? 16 * 128 / 16 : 2), bTransposed);
    });
  });
  d.warpgroupCommit();
}
