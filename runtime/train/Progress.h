#pragma once
// What a person sees of a run, on stderr: a live line on a terminal, plain lines elsewhere.

#include <chrono>
#include <cstdint>
#include <string>

namespace lorac::train {

struct ProgressStep {
  int64_t step = 0, total = 0; ///< updates done
  double loss = 0, tokensPerSecond = 0;
  uint64_t memoryBytes = 0;
};

class Progress {
public:
  /// `quiet`: nothing but warnings.
  explicit Progress(bool quiet = false);
  ~Progress();

  void begin(int64_t step, int64_t total);
  void update(const ProgressStep &step);
  /// A line of its own; the live line goes on below it.
  void say(const std::string &line);
  /// "warning: line", also where all else is quiet.
  void warn(const std::string &line);
  void finish();

  bool terminal() const { return live; }

private:
  void draw();
  void clear();

  bool live = false, colour = false, quiet = false, shown = false;
  int64_t firstStep = 0, lastPlain = -1;
  ProgressStep last;
  std::chrono::steady_clock::time_point start;
};

std::string formatBytes(uint64_t bytes);    ///< "1.2 GiB"
std::string formatDuration(double seconds); ///< "1:02:03", "4:05"

} // namespace lorac::train
