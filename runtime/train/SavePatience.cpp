#include "runtime/train/SavePatience.h"

#include "runtime/train/Signals.h"

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <string>
#include <thread>

namespace lorac::train {

namespace {

using Clock = std::chrono::steady_clock;

constexpr double longestWait = 60, usualPatience = 600, patienceWhenStopped = 5;

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

SavePatience::SavePatience() : signalBefore(stopSignal()) {
  const double seconds = signalBefore ? std::min(patience(), patienceWhenStopped) : patience();
  end = Clock::now() +
        std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double SavePatience::secondsLeft() const {
  return std::chrono::duration<double>(end - Clock::now()).count();
}

bool SavePatience::isLeft() const { return secondsLeft() > 0 && stopSignal() == signalBefore; }

void SavePatience::wait() {
  const double seconds = std::min({next, longestWait, std::max(0.0, secondsLeft())});
  next *= 2;
  const Clock::time_point until = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                     std::chrono::duration<double>(seconds));
  while (Clock::now() < until && stopSignal() == signalBefore)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

} // namespace lorac::train
