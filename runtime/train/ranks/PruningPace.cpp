#include "runtime/train/ranks/PruningPace.h"

#include <algorithm>
#include <cmath>

namespace lorac::train {

PruningPace::PruningPace(const RankSchedule &schedule, const PlateauSettings &settings)
    : schedule(schedule), settings(settings) {
  now.sinceStep = schedule.tinit;
}

void PruningPace::observe(int64_t step, double loss) {
  if (!std::isfinite(loss) || schedule.isFinal(step))
    return;
  const bool better = now.evaluations == 0 || loss < now.best - settings.minDelta;
  const bool worse = !better && loss > now.best + settings.minDelta;
  ++now.evaluations;
  if (step <= schedule.tinit) {
    if (better)
      now.best = loss;
    return;
  }
  double pace = 1;
  if (better) {
    now.best = loss;
    now.stalled = 0;
  } else {
    ++now.stalled;
    if (worse)
      pace = now.stalled <= settings.patience ? 1 / settings.stretch : 1;
    else
      pace = now.stalled >= settings.patience ? settings.stretch : 1;
  }
  if (pace == now.pace)
    return;
  now.sinceProgress = progress(step);
  now.sinceStep = step;
  now.pace = pace;
}

double PruningPace::progress(int64_t step) const {
  if (step <= schedule.tinit)
    return 0;
  if (schedule.isFinal(step))
    return 1;
  return std::min(1.0, now.sinceProgress + now.pace * (1 - now.sinceProgress) *
                                               double(step - now.sinceStep) /
                                               double(schedule.finalStep() - now.sinceStep));
}

Result<void> PruningPace::restore(const PruningPaceState &state) {
  const bool good = state.evaluations >= 0 && std::isfinite(state.best) && state.stalled >= 0 &&
                    std::isfinite(state.pace) && state.pace > 0 &&
                    state.sinceStep >= schedule.tinit && state.sinceStep < schedule.finalStep() &&
                    state.sinceProgress >= 0 && state.sinceProgress <= 1;
  if (!good)
    return Error{"the checkpoint's pace of pruning is no state of this schedule",
                 Exit::ForeignFile};
  now = state;
  return {};
}

} // namespace lorac::train
