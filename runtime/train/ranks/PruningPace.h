#pragma once
// A budget that reacts to the data, [adapter.adalora.plateau]: measured held-out losses delay or
// hasten the pruning. The rule, after each evaluation inside the budget phase:
//
//   loss < best - min_delta      learning goes on           best = loss, stalled = 0, pace 1
//   else stalled += 1, and
//   loss > best + min_delta      pruning hurts              pace 1/stretch, but 1 once stalled >
//                                                           patience: waiting does not heal it
//   otherwise                    nothing more to learn      pace stretch once stalled >= patience
//                                with these ranks
//
// A pace p that begins after step s, with progress x there, gives at each later step t
//   progress(t) = min(1, x + p (1 - x) (t - s) / (final step - s)):
// the rest of the budget phase p times as fast, as if it had just begun to be scaled. So the budget
// never rises, pace 1 throughout is PEFT's schedule bit for bit, and the final step gives the
// target whatever came before.

#include "runtime/Result.h"
#include "runtime/train/ranks/RankSchedule.h"

namespace lorac::train {

struct PlateauSettings {
  int64_t patience = 2;   ///< evaluations without progress
  double minDelta = 0.01; ///< of the held-out loss: less is no change
  double stretch = 2;     ///< how much faster or slower
};

/// What a checkpoint keeps.
struct PruningPaceState {
  int64_t evaluations = 0; ///< seen; 0: there is no best yet
  double best = 0;
  int64_t stalled = 0;
  double pace = 1;
  int64_t sinceStep = 0; ///< where this pace began
  double sinceProgress = 0;
};

class PruningPace {
public:
  PruningPace(const RankSchedule &schedule, const PlateauSettings &settings);

  /// The held-out loss measured after the update of `step`; steps ascend. Evaluations of the first
  /// phase count for the best alone, those of the final phase for nothing. A loss that is no finite
  /// number is passed over.
  void observe(int64_t step, double loss);

  /// For RankSchedule::budgetAt, of a step behind the last one observed.
  double progress(int64_t step) const;

  const PruningPaceState &state() const { return now; }
  Result<void> restore(const PruningPaceState &state);

private:
  RankSchedule schedule;
  PlateauSettings settings;
  PruningPaceState now;
};

} // namespace lorac::train
