#pragma once
// What a run will train, as numbers: each tensor with its rates and bytes, and AdaLoRA's budget.
// ExplainCommand.cpp prints it.

#include "compiler/tools/Project.h"
#include "runtime/formats/AdapterLayout.h"
#include "runtime/train/ranks/RankSchedule.h"

#include <string>
#include <vector>

namespace lorac::tools {

/// One trained tensor.
struct TrainedTensor {
  std::string module; ///< model.layers.0.self_attn.q_proj
  formats::AdapterPart part{};
  std::string pattern;         ///< the module with {layer} in place of its number
  int64_t layer = -1;          ///< -1: the name has none
  std::vector<int64_t> shape;  ///< [rank, in], [out, rank], [rank] or [out]
  int64_t rank = 0;            ///< AdaLoRA: the initial one
  int64_t least = 0, most = 0; ///< AdaLoRA: bounds of the live rank
  double alpha = 0, scale = 0;
  double learningRate = 0; ///< at the schedule's peak
  double weightDecay = 0;

  int64_t count() const;
};

/// Tensors that differ by their layer alone.
struct TensorGroup {
  TrainedTensor first;
  std::vector<int64_t> layers; ///< ascending; empty: the name has none
  int64_t count() const { return first.count() * tensors(); }
  int64_t tensors() const { return layers.empty() ? 1 : static_cast<int64_t>(layers.size()); }
  /// model.layers.{0..29}.self_attn.q_proj.lora_A
  std::string name() const;
};

/// A kind of tensors with one learning rate.
struct RateGroup {
  formats::AdapterPart part{};
  double ratio = 1, learningRate = 0;
};

/// Bytes of what is trained; importance and unfolded are AdaLoRA's.
struct TrainedBytes {
  int64_t params = 0, grads = 0, states = 0, importance = 0, unfolded = 0;
  int64_t total() const { return params + grads + states + importance + unfolded; }
};

struct Explanation {
  std::vector<TrainedTensor> tensors; ///< module by module, A, B, E, magnitude or gate
  std::vector<RateGroup> groups;
  bool adalora = false;
  std::string optimizer;   ///< its word
  int64_t min8bitSize = 0; ///< elements from which on a tensor has states of 8 bits

  int64_t parameters() const;
  std::vector<TensorGroup> grouped() const;
  TrainedBytes bytes(const TrainedTensor &tensor) const;
  TrainedBytes bytes() const;
};

Explanation explain(const Project &project);

/// Layers as {0..3,7}; a number alone without braces.
std::string shownLayers(const std::vector<int64_t> &layers);

/// The run's own schedule. Only with AdaLoRA.
train::RankSchedule rankSchedule(const Project &project);

/// How many allocations a run has.
int64_t allocations(const train::RankSchedule &schedule);
/// Steps that allocate, at most `most` (2 or more) of them, evenly thinned: the first and the last
/// are always there.
std::vector<int64_t> allocationSteps(const train::RankSchedule &schedule, int64_t most);

/// AdaLoRA's scales against LoRA's habit, alpha = r … 2r (a scale of 1 to 2). Under half of its
/// lower end or above twice its upper end counts as far: learning rates found for LoRA are then of
/// little use.
constexpr double leastHabitScale = 0.5, mostHabitScale = 4;
void warnOfScales(const Project &project, dsl::Diagnostics &diags);

} // namespace lorac::tools
