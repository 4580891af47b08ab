#include "runtime/train/SavePatience.h"

#include "runtime/train/Signals.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>

namespace lorac::train {

namespace {

constexpr double longestWait = 60, usualPatience = 600, patienceWhenStopped = 5;
constexpr double glance = 0.02; // between looks at a signal

/// Seconds; nothing where what is set says none.
std::optional<double> statedPatience() {
  const char *text = std::getenv("LORAC_SAVE_WAIT");
  if (!text)
    return usualPatience;
  char *end = nullptr;
  const double seconds = std::strtod(text, &end);
  if (end == text || *end || !(seconds >= 0 && seconds < 1e6))
    return std::nullopt;
  return seconds;
}

double patience() { return statedPatience().value_or(usualPatience); }

} // namespace

Result<void> SavePatience::check() {
  if (statedPatience())
    return {};
  return Error{std::string("LORAC_SAVE_WAIT is '") + std::getenv("LORAC_SAVE_WAIT") +
                   "', which is no number of seconds from 0 to 999999",
               Exit::Usage};
}

SavePatience::SavePatience(Clock &clock) : clock(clock), signalBefore(stopSignal()) {
  end = clock.now() + (signalBefore ? std::min(patience(), patienceWhenStopped) : patience());
}

double SavePatience::secondsLeft() const { return end - clock.now(); }

bool SavePatience::isLeft() const { return secondsLeft() > 0 && stopSignal() == signalBefore; }

void SavePatience::wait() {
  const double until = clock.now() + std::min({next, longestWait, std::max(0.0, secondsLeft())});
  next *= 2;
  while (clock.now() < until && stopSignal() == signalBefore)
    clock.sleep(glance);
}

} // namespace lorac::train
