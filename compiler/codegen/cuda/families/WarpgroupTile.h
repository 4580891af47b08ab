#pragma once
// The tile of a block whose warps multiply in groups of four (wgmma, sm_90a). Its sums lie as those
// of WarpTile, so both may add to them.

#include "compiler/codegen/cuda/families/WarpTile.h"

namespace lorac::cuda {

class WarpgroupTile : public WarpTile {
public:
  /// `shape.warpCols` is 128 or 256, and all of the block's columns.
  WarpgroupTile(DeviceBuilder &d, const TileShape &shape);

  /// Where the operands lie: tiles in rows of 128 bytes, whose memory begins at a multiple of 1024.
  void prepareAsync(const SwizzledTile &a, const SwizzledTile &b, bool transposed);

  /// Begins sums += a·bᵀ over 64 of the depth, as WarpTile::multiply, behind a barrier that follows
  /// the writers' proxy fence. Closes a group.
  void issue(Int aFrom, Int bFrom);
  /// Waits until at most so many of the newest groups are on their way.
  void wait(int64_t groups) { d.warpgroupWait(groups, sumsArray); }

private:
  std::optional<Int> aDescriptor, bDescriptor;
  bool bTransposed = false;
};

} // namespace lorac::cuda
