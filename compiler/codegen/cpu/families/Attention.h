#pragma once
// What attention's forward and backward pass share: sizes, the segment of a tile, scores below the
// diagonal.

#include "compiler/codegen/cpu/Families.h"
#include "compiler/codegen/cpu/families/AttentionProducts.h"

namespace lorac::cpu {

/// Queries and keys of one block; a multiple of the register tile's rows and columns.
constexpr int64_t blockRows = 48;
/// Columns of a block of scores: zeros are written up to 8 columns behind the last key.
constexpr int64_t scoreColumns = 64;

struct AttentionSizes {
  int64_t heads, kvHeads, dim;
  int64_t paddedDim; ///< of rows in scratch
  int64_t panels;    ///< panels of 16 keys that hold the longest segment (not over a cache)
  int64_t longest;   ///< the longest segment, in whole blocks
  double scale;
  int64_t window; ///< keys that a query sees, its own among them; 0: all before
  double softcap; ///< 0: none

  explicit AttentionSizes(mlir::DictionaryAttr params);
  int64_t group() const { return heads / kvHeads; }
};

/// Checks that heads and sizes fit together.
mlir::LogicalResult checkAttention(mlir::Location loc, mlir::DictionaryAttr params);

/// Floats of one worker's scratch, handed out in order.
class ScratchPlan {
public:
  /// The byte offset of `floats` floats.
  int64_t take(int64_t floats) {
    int64_t offset = bytes;
    bytes += roundUp(floats * 4, 64);
    return offset;
  }
  int64_t total() const { return bytes; }

private:
  int64_t bytes = 0;
};

/// Keys in panels of 16 positions, `[panel][dim][16]`: those of one head are `stride` panels apart,
/// its first is `first` (null: 0).
struct KeyPanels {
  mlir::Value memory;
  mlir::Value first = {};
  int64_t stride = 1;
  mlir::Value panelOf(KernelBuilder &k, mlir::Value position) const;
};

/// One segment and one of `count` heads: tile = segment·count + head.
struct SegmentTile {
  mlir::Value segment, start, length, head;
  SegmentTile(KernelBuilder &k, mlir::Value tile, mlir::Value starts, int64_t count);
};

/// One key head of one sequence in the cache of an attention (docs/plan.md, "The cache").
struct CachedHead {
  KeyPanels keys;
  Submatrix values;
  mlir::Value past; ///< position of the segment's first row

  /// Buffers `keys` and `keys` + 1 of the kernel are the cache, buffer `positions` says where rows
  /// stand. `segment` has at least one row; its heads are `group` to a key head.
  CachedHead(KernelBuilder &k, const SegmentTile &segment, unsigned keys, unsigned positions,
             mlir::DictionaryAttr params, int64_t group);
  /// The two buffers.
  static mlir::SmallVector<mlir::MemRefType> types(mlir::MLIRContext *context,
                                                   mlir::DictionaryAttr params);
};

/// Where a block of queries meets a block of keys, as positions in the segment.
struct BlockPair {
  mlir::Value query, queries; ///< first query, number of queries
  mlir::Value key,
      keys; ///< first key (at most the first query), number of keys at most the last query

  /// Keys of the block that row r of the block of queries sees: at least one.
  mlir::Value seenBy(KernelBuilder &k, mlir::Value r) const;
  /// Of those the ones, from the block's first on, that lie before the window of row r.
  mlir::Value beforeWindow(KernelBuilder &k, mlir::Value r, int64_t window) const;
};

/// The first block of keys that a block of queries sees.
mlir::Value firstKeyBlock(KernelBuilder &k, mlir::Value query, int64_t window);

/// Keys that a row of the longest segment sees at most.
int64_t mostKeys(mlir::DictionaryAttr params, int64_t rows);

/// scores[m, n] = Σ a[m, c]·packed[key + n][c] for pairs at or below the diagonal and some above
/// it; `a` holds the queries. `columns` are summed. Everything else in `scores` keeps what it held.
void blockScores(KernelBuilder &k, const BlockPair &pair, mlir::Value a, const KeyPanels &packed,
                 int64_t columns, mlir::Value scores);

/// For each tile of rows: target[m] += Σ_{keys seen} weights[m, n]·keyRows[key + n].
void weighKeys(KernelBuilder &k, const BlockPair &pair, mlir::Value weights,
               const Submatrix &keyRows, int64_t columns, mlir::Value target);

} // namespace lorac::cpu
