#include "runtime/train/Progress.h"

#include "runtime/Say.h"
#include "runtime/formats/Finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sys/ioctl.h>
#include <unistd.h>
#include <utility>

namespace lorac::train {

namespace {

int terminalColumns() {
  winsize size;
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    return size.ws_col;
  const char *columns = std::getenv("COLUMNS");
  int value = columns ? std::atoi(columns) : 0;
  return value > 0 ? value : 80;
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.4f}", value) : formats::numberText(value);
}

} // namespace

std::string formatBytes(uint64_t bytes) {
  const char *units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = double(bytes);
  int unit = 0;
  for (; value >= 1024 && unit < 4; ++unit)
    value /= 1024;
  return unit == 0 ? fmt::format("{} B", bytes) : fmt::format("{:.1f} {}", value, units[unit]);
}

std::string formatDuration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0)
    return "?";
  int64_t total = int64_t(seconds + 0.5);
  if (total >= 3600)
    return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

Progress::Progress(bool quiet) : quiet(quiet) {
  const char *term = std::getenv("TERM");
  live = !quiet && isatty(STDERR_FILENO) && !(term && std::string(term) == "dumb");
  const char *noColour = std::getenv("NO_COLOR");
  colour = live && !(noColour && *noColour);
}

Progress::~Progress() { finish(); }

void Progress::begin(int64_t step, int64_t total) {
  firstStep = step;
  last = {};
  last.step = step;
  last.total = total;
  start = std::chrono::steady_clock::now();
  if (live)
    draw();
}

void Progress::update(const ProgressStep &step) {
  last = step;
  if (quiet)
    return;
  if (live)
    return draw();
  // About 50 plain lines a run, the first and the last among them.
  int64_t every = std::max<int64_t>(1, step.total / 50);
  if (lastPlain >= 0 && step.step < lastPlain + every && step.step != step.total)
    return;
  lastPlain = step.step;
  double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double left = elapsed / double(std::max<int64_t>(1, step.step - firstStep)) *
                double(step.total - step.step);
  lorac::say(fmt::format("step {}/{}  loss {}  {:.0f} tokens/s  left {}  memory {}", step.step,
                         step.total, number(step.loss), step.tokensPerSecond, formatDuration(left),
                         formatBytes(step.memoryBytes)));
}

void Progress::draw() {
  double elapsed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  int64_t done = last.step - firstStep;
  double left = elapsed / double(std::max<int64_t>(1, done)) * double(last.total - last.step);
  std::string words = fmt::format(" {}/{}", last.step, last.total);
  if (done > 0)
    words += fmt::format("  loss {}  {:.0f} tok/s  ETA {}  {}", number(last.loss),
                         last.tokensPerSecond, formatDuration(left), formatBytes(last.memoryBytes));
  int columns = terminalColumns();
  int width = std::clamp(columns - int(words.size()) - 3, 0, 40);
  std::string bar;
  if (width >= 8) {
    int64_t filled = last.total > 0 ? last.step * width / last.total : 0;
    bar = (colour ? "\x1b[32m" : "");
    for (int i = 0; i < width; ++i) {
      if (i == filled)
        bar += colour ? "\x1b[2m" : "";
      bar += i < filled ? "━" : "─";
    }
    bar += colour ? "\x1b[0m" : "";
  } else if (int(words.size()) >= columns) {
    words.resize(size_t(std::max(1, columns - 1)));
  }
  sayText("\r\x1b[K" + bar + words);
  shown = true;
}

void Progress::clear() {
  if (shown)
    sayText("\r\x1b[K");
  shown = false;
}

void Progress::say(const std::string &line) {
  if (quiet)
    return;
  bool again = shown;
  clear();
  lorac::say(line);
  if (again)
    draw();
}

void Progress::warn(const std::string &line) {
  const bool wasQuiet = std::exchange(quiet, false);
  say("warning: " + line);
  quiet = wasQuiet;
}

void Progress::finish() {
  if (shown)
    sayText("\n");
  shown = false;
}

} // namespace lorac::train
