#pragma once
// When a run has nothing more to gain by its held-out loss: the rule of transformers'
// EarlyStoppingCallback.

#include <cstdint>
#include <optional>

namespace lorac::train {

/// `[train.early_stopping]`.
struct EarlyStoppingSettings {
  int64_t patience = 1; ///< evaluations in a row
  double minDelta = 0;
};

/// An evaluation is progress where its loss is below the best by more than `minDelta`. The best is
/// the least of all, whatever it is below by.
class EarlyStopping {
public:
  explicit EarlyStopping(const EarlyStoppingSettings &settings) : settings(settings) {}

  void observe(double loss) {
    const bool isProgress = !best || *best - loss > settings.minDelta;
    stalledFor = isProgress ? 0 : stalledFor + 1;
    if (!best || loss < *best)
      best = loss;
  }
  /// Evaluations in a row without progress.
  int64_t stalled() const { return stalledFor; }
  bool isOver() const { return stalledFor >= settings.patience; }

private:
  EarlyStoppingSettings settings;
  std::optional<double> best;
  int64_t stalledFor = 0;
};

} // namespace lorac::train
