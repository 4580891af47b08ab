#pragma once
// One model from several of one architecture, tensor by tensor, by mergekit's rules.

#include "runtime/combine/TaskVectors.h"

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

namespace lorac::combine {

/// What is added.
enum class ModelForm {
  Weights,     ///< the tensors themselves
  Slerp,       ///< two of them, along the arc between them
  TaskVectors, ///< their differences from the base, which the sum is added to
};

/// A merge method of mergekit's.
struct ModelMethod {
  std::string_view name;
  ModelForm form;
  Pruning pruning = Pruning::None;
  /// Of each element the sign is elected by the weighted values, and others are left out (TIES).
  bool elects = false;
  bool normalizes = false; ///< unless it is told otherwise: a sum is divided by its weights
};

std::span<const ModelMethod> modelMethods();

struct ModelSum {
  ModelMethod method;
  std::vector<double> weights;   ///< one a model; none of slerp
  std::vector<double> densities; ///< one a model, above 0; empty where nothing is pruned
  bool normalize = false;
  double lambda = 1;   ///< what a sum of task vectors is multiplied by
  double gamma = 0.01; ///< the part of each tensor that Pruning::Outliers takes off at the top
  double t = 0;        ///< of slerp: 0 is the first model, 1 the second
};

/// A 1 for each element of a model's task vector that Pruning::Random keeps.
using Draw = std::function<std::vector<uint8_t>(size_t model, int64_t count, double density)>;

/// One tensor of the sum. `base` is that of the base where the method takes differences.
std::vector<float> combineTensor(const ModelSum &sum, std::span<const float> base, Tasks models,
                                 const Draw &draw);

} // namespace lorac::combine
