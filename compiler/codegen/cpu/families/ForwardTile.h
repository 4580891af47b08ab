#pragma once
// The forward pass of attention for one head of one segment, in blocks of queries and keys with a
// running maximum and sum (Dao 2022, algorithm 1). Blocks of both begin at multiples of blockRows
// positions, so a query's result does not depend on which queries come with it. Blocks before the
// window of all queries of a block are not visited.

#include "compiler/codegen/cpu/families/Attention.h"

namespace lorac::cpu {

/// Where one head's queries and results lie, from the segment's first row on, and its keys and
/// values, from position 0 on.
struct HeadPlace {
  Submatrix queries, outputs;
  KeyPanels keys;
  Submatrix values;
  mlir::Value rows; ///< of the segment
  mlir::Value past; ///< position of its first row; null: 0
  Submatrix lse;    ///< log Σ exp of each row; no memory: nobody wants it
};

class ForwardTile {
public:
  /// Takes its scratch from `plan`; the same in `describe` and `build`.
  struct Scratch {
    Scratch(ScratchPlan &plan, const AttentionSizes &sizes);
    int64_t queries, scores, sums, maxima, totals, shrinks;
  };

  ForwardTile(KernelBuilder &k, const AttentionSizes &sizes, const Scratch &at);
  void emit(const HeadPlace &place);

private:
  void beginBlock(const BlockPair &pair, mlir::Value row);
  double least() const;
  void capAndBlank(const BlockPair &pair, mlir::Value r);
  void exponentials(const BlockPair &pair);
  mlir::Value seenColumns(const BlockPair &pair, mlir::Value r);
  mlir::Value maximum(const BlockPair &pair, mlir::Value r);
  void addExponentials(const BlockPair &pair, mlir::Value r);
  void endBlock(const BlockPair &pair, mlir::Value row);

  KernelBuilder &k;
  const AttentionSizes &sizes;
  HeadPlace place;
  mlir::Value queries, scores, sums, maxima, totals, shrinks;
};

} // namespace lorac::cpu
