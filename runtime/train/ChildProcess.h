#pragma once
// A program in another process: words in and out through memory, so that neither waits for the
// other.

#include "runtime/Result.h"
#include "runtime/UniqueFd.h"

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <vector>

namespace lorac::train {

/// What an ended process left behind.
struct ChildOutcome {
  int exitCode = 0;           ///< of its own; -1: killed
  int signal = 0;             ///< that killed it
  std::string output, errors; ///< what it wrote to stdout and stderr
};

class ChildProcess {
public:
  /// Starts `words[0]` with `input` as a file on its stdin. It has a process group of its own: a
  /// Ctrl-C in the terminal is for the run alone. `mostMemory`: bytes of address space that it and
  /// what it starts may each have; 0: no limit but ours.
  static Result<ChildProcess> start(const std::vector<std::string> &words, std::string_view input,
                                    uint64_t mostMemory = 0);
  ChildProcess(ChildProcess &&other) noexcept;
  ChildProcess &operator=(ChildProcess &&other) noexcept;
  /// Kills what is still running.
  ~ChildProcess();

  /// Whether it has ended; waits up to `patience` for that, whatever signals come.
  bool ended(std::chrono::milliseconds patience);
  /// Of one that has ended.
  const ChildOutcome &outcome() const { return result; }
  pid_t id() const { return pid; }

private:
  ChildProcess() = default;
  pid_t pid = -1; ///< -1: it has ended and is buried
  UniqueFd outputFile, errorFile;
  ChildOutcome result;
};

} // namespace lorac::train
