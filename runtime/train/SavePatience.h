#pragma once
// How long a run that is at its end waits for room to save what it has.

#include "runtime/Result.h"
#include "runtime/train/Clock.h"

namespace lorac::train {

/// Waits that double, from a second to a minute, and end together after $LORAC_SAVE_WAIT seconds
/// (600); after a few seconds where a signal had asked to stop, and with the first signal else.
class SavePatience {
public:
  explicit SavePatience(Clock &clock);
  /// Error, Exit::Usage: $LORAC_SAVE_WAIT is set and says no seconds.
  static Result<void> check();
  bool isLeft() const;
  double secondsLeft() const;
  void wait();

private:
  Clock &clock;
  int signalBefore = 0;
  double end = 0, next = 1;
};

} // namespace lorac::train
