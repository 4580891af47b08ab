#pragma once
// Time for the training loop. It is passed in, so that tests need not wait.

#include <chrono>
#include <thread>

namespace lorac::train {

class Clock {
public:
  virtual ~Clock() = default;
  /// Seconds since some moment; they never go back.
  virtual double now() const = 0;
  virtual void sleep(double seconds) = 0;
};

class SteadyClock : public Clock {
public:
  double now() const override {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
  }
  void sleep(double seconds) override {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }
};

} // namespace lorac::train
