#pragma once
// What the Stepper answers, and what AdaLoRA's allocation and the log go by.

#include <cmath>
#include <cstdint>

namespace lorac::train {

/// What a step was.
struct StepFacts {
  int64_t step = 0;               ///< windows done, with this one
  int64_t update = 0;             ///< updates done, with this one
  int64_t tokens = 0, labels = 0; ///< of its window
  double rate = 0;                ///< learning rate, before the groups' ratios
  double loss = 0;                ///< mean over the labels, before the update; terms added
  double orthogonality = 0;       ///< this term before its weight
  double pull = 0;                ///< L2-SP: this term before its weight
  float gradNorm = 0;             ///< before clipping
  int64_t zeroNorms = 0;          ///< steps in a row, up to this one, whose gradient was exactly 0

  /// A window without labels changes no parameter.
  bool isSkipped() const { return labels == 0; }
  /// What is not finite is not taken into the parameters either.
  bool isFinite() const { return std::isfinite(loss) && std::isfinite(gradNorm); }
};

} // namespace lorac::train
