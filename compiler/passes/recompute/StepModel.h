#pragma once
// A training step as the planner of recomputation sees it: ops in order, the buffers that they read
// and write, bytes and FLOPs as a target has them. Light, so that a choice is weighed in
// microseconds; PlanMemory's peak has the last word.

#include "compiler/dialect/LoraOps.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"

namespace lorac::lora {

/// What of a target decides how large a step is.
struct StepTarget {
  int64_t tokens = 1024, length = 256; ///< most in a micro-batch, most in a sample
  int64_t elementBytes = 4;            ///< of an activation
  int64_t alignment = 64;              ///< of a buffer
  bool isDevice = false; ///< maps and ropes are epilogues; attention keeps statistics of its rows
};

/// What lies in memory of its own: a value and all its views, or several side by side.
struct StepBuffer {
  mlir::Value value;
  int64_t bytes = 0;
  int writer = -1; ///< index of the first op that writes it; -1: an argument, a weight, a factor
};

struct StepOp {
  /// The result may take over the operand's memory where the operand dies.
  struct Over {
    unsigned write, read;
  };

  mlir::Operation *op = nullptr;
  llvm::SmallVector<unsigned, 6> reads; ///< buffers, once for each operand
  llvm::SmallVector<unsigned, 2> writes;
  llvm::SmallVector<Over, 4> over;
  int64_t flops = -1;    ///< to compute it again; -1: never
  int64_t temporary = 0; ///< bytes while it runs
  int layer = -1;        ///< -1: before the first
  bool isCheap = false;  ///< worth it whatever the budget
  bool takesEpilogue = false, isEpilogue = false;
};

/// The most that lives at a time. The loss's chunk of logits, whose rows are a choice, is not in
/// it.
struct StepPeak {
  int64_t atLoss = 0, elsewhere = 0;
};

class StepModel {
public:
  /// `train` as FuseKernels leaves it; it has a loss.
  StepModel(ProgramOp train, const StepTarget &target);

  llvm::SmallVector<StepOp> ops; ///< those that run: no views, no uses of weights
  llvm::SmallVector<StepBuffer> buffers;
  unsigned border = 0; ///< index of the loss
  int64_t vocab = 1;

  bool isForward(int op) const { return op >= 0 && static_cast<unsigned>(op) < border; }
  /// What a later layer reads: never computed again, or layers would live on into others.
  bool entersLayer(unsigned op) const;
  /// A chunk's logits and, where activations have fewer bits, their gradient.
  int64_t logitBytes(int64_t rows) const;
  /// For each op of `again` in front of which op of the backward pass it comes again: the first
  /// that needs it, itself or by others that come again. `none`: nobody does.
  llvm::SmallVector<unsigned> placesOf(const llvm::BitVector &again) const;
  static constexpr unsigned none = ~0u;

  StepPeak peak(const llvm::BitVector &again) const;

private:
  StepTarget target;
  llvm::DenseMap<mlir::Value, unsigned> bufferOf;
  llvm::BitVector isLayerInput; // by buffer

  void addOp(mlir::Operation *op);
  void findOver(StepOp &entry);
  unsigned bufferFor(mlir::Value value);
  int64_t bytesOf(mlir::Value value) const;
  int64_t aligned(int64_t bytes) const;
  int64_t flopsOf(mlir::Operation *op) const;
};

/// The value whose memory a view, or some of its columns, is.
mlir::Value storageOf(mlir::Value value);

} // namespace lorac::lora
