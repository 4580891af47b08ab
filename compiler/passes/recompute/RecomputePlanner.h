#pragma once
// Which ops of the forward pass come again in the backward pass, so that less is kept.

#include "compiler/passes/recompute/StepModel.h"

#include <optional>

namespace lorac::lora {

struct RecomputeChoice {
  llvm::BitVector again;    ///< by op of the model
  int64_t headRows = 0;     ///< rows of a chunk of logits
  int64_t peak = 0;         ///< as the model sees it
  bool isLeast = false;     ///< less cannot be reached
  unsigned evaluations = 0; ///< steps that were simulated for it
};

/// First what is cheap: norms, maps and dropout come again wherever less is kept then. Under a
/// limit further ops follow, the fewest FLOP a saved byte first, the lower layers first: what they
/// keep lives longest. An op brings along what it reads and nobody keeps, so that a linear, its
/// rope and its map are one choice. What a later layer reads is always kept.
class RecomputePlanner {
public:
  /// `headRows`: rows of a chunk of logits where nothing presses; never fewer than `leastRows`.
  RecomputePlanner(const StepModel &model, int64_t headRows, int64_t leastRows);

  /// Fits the step's peak into `budget` bytes (0: no limit), or comes as near as it can.
  RecomputeChoice choose(int64_t budget);

  /// Bytes that each op keeps for the backward pass under a choice, by op.
  llvm::SmallVector<int64_t> keptBytes(const llvm::BitVector &again) const;

private:
  /// A set that grows, with what the backward pass needs of the forward pass under it.
  struct Set {
    llvm::BitVector again;             ///< by op
    llvm::SmallVector<unsigned> needs; ///< by buffer: reads by ops behind the border
  };
  struct Candidate {
    unsigned op;
    double price; ///< FLOP a byte
  };
  struct Gain {
    int64_t bytes = 0, flops = 0;
  };

  const StepModel &model;
  int64_t headRows, leastRows;
  Set cheap;
  llvm::SmallVector<Candidate> candidates; ///< in the order in which they are taken
  llvm::SmallVector<unsigned> classEnds;   ///< 0, where the price rises, and behind the last
  unsigned evaluations = 0;

  Set plainSet() const;
  bool isKept(const Set &set, unsigned buffer) const;
  bool mayComeAgain(unsigned op, bool onlyCheap) const;
  /// Adds an op with what it brings along; `added` gets them all.
  Gain add(Set &set, unsigned op, bool onlyCheap, llvm::SmallVectorImpl<unsigned> &added) const;
  void remove(Set &set, llvm::ArrayRef<unsigned> added) const;
  void takeCheap();
  void findCandidates();
  Set firstOf(unsigned count) const;
  StepPeak peakOf(const llvm::BitVector &again);
  int64_t half(int64_t rows) const;
  int64_t rowsWithin(int64_t budget, const StepPeak &peak, int64_t fewest) const;
  bool fits(const StepPeak &peak, int64_t budget, int64_t fewest) const;
  RecomputeChoice leastChoice();
  void keepLastLayers(RecomputeChoice &choice, int64_t budget, int64_t fewest);
};

} // namespace lorac::lora
