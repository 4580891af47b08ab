#pragma once
// A loaded program: plan, kernels, packed weights, arena, threads. Training, evaluation and
// generation run on it.

#include "runtime/Result.h"
#include "runtime/train/Batches.h"
#include "runtime/train/Executor.h"
#include "runtime/train/Payload.h"
#include "runtime/train/RunConfig.h"
#include "runtime/train/Weights.h"

#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace lorac::train {

/// What the command line changes; empty or 0: as the spec says.
struct SessionOptions {
  std::string model;
  int threads = 0;
};

class Session {
public:
  /// `say` gets lines for people. The adapter is left zero.
  static Result<std::unique_ptr<Session>> open(const Payload &payload, RunConfig run,
                                               const SessionOptions &options,
                                               const std::function<void(const std::string &)> &say);

  RunConfig run;
  Plan plan;
  std::string modelPath; ///< "": seeded weights
  Arena arena;
  WeightStore weights;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Executor> executor;

  uint64_t plannedBytes() const;
  float *params() const { return arena.at<float>(plan.paramRegion.offset); }
  float *grads() const { return arena.at<float>(plan.gradRegion.offset); }

  /// Puts a micro-batch into the io buffers.
  void feed(const MicroBatch &batch);
  void execute(Program program, const MicroBatch &batch, float lossScale = 0, int64_t step = 0,
               int64_t micro = 0);
  /// Losses of the rows of the last program, in double, in order.
  double sumRowLoss(int64_t tokens) const;
  const float *rowLoss() const { return arena.at<float>(plan.io.rowLoss); }

  /// Copies hidden rows [begin, begin + count) to head_in and runs `head`; the logits of row i
  /// start at i * Plan::leadingDim(vocab).
  const float *logits(int64_t begin, int64_t count);

private:
  Session() = default;
};

/// Mean loss over `pieces` by the programs `hidden` and `loss`; NaN when they have no labels,
/// nothing when a signal asked to stop meanwhile.
std::optional<double> evalLoss(Session &session, const Corpus &corpus,
                               const std::vector<uint32_t> &pieces);

} // namespace lorac::train
