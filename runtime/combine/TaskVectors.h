#pragma once
// What sums of adapters and of models do with a tensor of each: a task vector, which is what
// training changed.

#include "runtime/train/Random.h"

#include <cstdint>
#include <span>
#include <vector>

namespace lorac::combine {

/// One tensor of each adapter or model, all of one size.
using Tasks = std::vector<std::vector<float>>;

/// How a task vector is thinned out before it is added.
enum class Pruning {
  None,
  Magnitude, ///< the largest stay (TIES)
  Random,    ///< each stays with one probability, and what is left is scaled up (DARE)
  Outliers,  ///< the very largest go, of the rest the largest stay (Model Breadcrumbs)
};

/// The elements by magnitude, the largest first, of equal ones the earlier first: the first `skip`
/// become 0, the next `keep` stay, the rest becomes 0.
void keepByMagnitude(std::span<float> values, int64_t skip, int64_t keep);

/// A 1 for each element that stays.
std::vector<uint8_t> drawn(int64_t count, double density, const train::RandomStream &stream);

/// sum of weights[i] · tasks[i]
std::vector<float> weightedSum(const Tasks &tasks, std::span<const float> weights);

} // namespace lorac::combine
