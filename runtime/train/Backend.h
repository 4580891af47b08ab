#pragma once
// The programs of a plan on a device: in which order a step runs them, what the host tells each
// before, and what it reads afterwards. The same for the CPU and a GPU.

#include "runtime/Result.h"
#include "runtime/train/Device.h"
#include "runtime/train/TrainedFloats.h"
#include "runtime/train/ranks/RankAllocator.h"
#include "runtime/train/ranks/TripletParams.h"

#include <memory>
#include <span>
#include <vector>

namespace lorac::train {

class Backend {
public:
  /// Kernels loaded, weights packed, tables and spans in the arena.
  static Result<std::unique_ptr<Backend>> open(const BackendInput &input,
                                               const DeviceOpener &opener = openDevice);

  /// What needs no order of programs: memory, profile, hash of the weights.
  Device &device() { return *on; }
  const Device &device() const { return *on; }

  Result<void> feed(const MicroBatch &batch) { return on->feed(batch); }
  /// One of the model's programs (`train`, `hidden`, `loss`, `head`), or `initialize`.
  Result<void> run(Program program, const LoracStep &step);
  /// Losses of the rows of the last program; valid until the next call of anything.
  Result<const float *> rowLoss(int64_t tokens);
  /// Copies hidden rows [begin, begin + step.tokens) to head_in and runs `head`; the logits of row
  /// i start at i * Plan::leadingDim(vocab). Valid until the next call of anything.
  Result<const float *> logits(int64_t begin, const LoracStep &step);
  /// The same of step.tokens rows that lie apart.
  Result<const float *> logits(std::span<const int64_t> rows, const LoracStep &step);

  Result<void> zeroGrads();
  /// AdaLoRA, once a step: adds the gradients of the orthogonality term and answers the mean of
  /// its norms; 0 elsewhere.
  Result<double> regularize();
  /// The gradient's norm. It and the clipping factor, by `maxNorm` (0: no clipping), lie where the
  /// program `update` reads them.
  Result<float> gradNorm(double maxNorm);
  /// Runs the program `update`, after gradNorm; `scalars` are those that the plan has of it.
  Result<void> update(const std::vector<float> &scalars);

  // AdaLoRA, after the update of a step. Where triplets lie: tripletLayouts of the plan.

  /// Takes the step into the importance averages; gradients count as the update clipped them. Not
  /// to be called for a step whose update was skipped.
  /// `scalars` are those that the plan has of the program `importance`.
  Result<void> takeImportance(const std::vector<float> &scalars);
  /// Scores of all stored triplets: modules in order, triplets in the order in which they are
  /// stored.
  Result<std::vector<float>> tripletScores();
  /// Zeroes what died in all that is trained, and E of what is masked.
  Result<void> zeroTriplets(const TripletSets &died, const TripletSets &masked);

  /// See Device::adopt; `kept`: places of the triplets that stay, by module.
  Result<void> adopt(const Payload &program, const Plan &next, const TripletSets *kept);

  /// What is trained, as it is now; valid until the next call of anything but `write`.
  Result<TrainedFloats> read();
  /// Takes over what was changed in what `read` gave.
  Result<void> write();
  /// The gradients as they are now.
  Result<const float *> grads();

private:
  Backend(const Plan &plan, std::unique_ptr<Device> on) : plan(plan), on(std::move(on)) {}
  /// Triplets and tables of a plan, into its arena.
  Result<void> fill(const Plan &of);
  Result<void> fold();
  Result<void> unfold();
  Result<void> copyToHead(int64_t place, int64_t row, int64_t count);
  Result<const float *> runHead(const LoracStep &step);
  template <typename T>
  Result<T *> at(int64_t offset, int64_t count);

  const Plan &plan;
  std::unique_ptr<Device> on;
  std::vector<std::byte *> trained; ///< what `read` gave, as Plan::trained()
  float gradientScale = 1;          ///< LoracNorm::gradient_scale of this window
  // AdaLoRA: programs of the model run on B·diag(E) in B's place, everything else on B itself.
  std::vector<TripletLayout> triplets;
  bool isFolded = false, gradsAreFolded = false;
  std::vector<int32_t> tripletStates; ///< as they lie in the arena; empty: never written
};

} // namespace lorac::train
