#pragma once
// How long a run that is at its end waits for room to save what it has.

#include "runtime/Result.h"

#include <chrono>

namespace lorac::train {

/// Waits that double, from a second to a minute, and end together after $LORAC_SAVE_WAIT seconds
/// (600); after a few seconds where a signal had asked to stop, and with the first signal else.
class SavePatience {
public:
  SavePatience();
  /// Error, Exit::Usage: $LORAC_SAVE_WAIT is set and says no seconds.
  static Result<void> check();
  bool isLeft() const;
  double secondsLeft() const;
  void wait();

private:
  std::chrono::steady_clock::time_point end;
  double next = 1;
  int signalBefore = 0;
};

} // namespace lorac::train
