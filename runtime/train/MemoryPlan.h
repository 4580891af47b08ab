#pragma once
// What a run takes of memory, line by line, before it runs. `lorac plan`, `lorac compile` and the
// trainer count with the same functions.

#include "runtime/Result.h"
#include "runtime/train/Data.h"
#include "runtime/train/Payload.h"
#include "runtime/train/Plan.h"
#include "runtime/train/RunConfig.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lorac::train {

/// A run goes through these one after another: what is needed only in one gives its room to the
/// next.
enum MemoryPhase : unsigned {
  WhileReading = 1, ///< plan, tokenizer and data
  WhileLoading = 2, ///< the weights are packed
  InSteps = 4,
  Throughout = WhileReading | WhileLoading | InSteps,
};

struct MemoryLine {
  std::string key;   ///< "weights.nf4<64>", "activations"
  std::string words; ///< for people
  uint64_t bytes = 0;
  unsigned phases = InSteps;
  bool ofGpu = false; ///< of the GPU's memory, not of the host's
};

struct MemoryPlan {
  std::vector<MemoryLine> lines;

  uint64_t during(unsigned phase, bool ofGpu) const;
  /// The most at once of where the program runs: what target.memory limits.
  uint64_t total() const;
  /// The most at once of the host's.
  uint64_t host() const;
  bool onGpu() const;
  uint64_t bytesOf(std::string_view key) const;
  /// Of them what a backend takes: weights, arena and scratch.
  uint64_t ofBackend() const;
};

/// The program itself, as it is loaded.
struct ProgramImage {
  uint64_t code = 0;    ///< executable, libc and libm with their data
  uint64_t kernels = 0; ///< module.so
  uint64_t files = 0;   ///< what is read of the payload, at first
};

/// The data, as the trainer holds it.
struct DataMemory {
  int64_t samples = 0, tokens = 0;
  uint64_t tokenBytes = 0, listBytes = 0; ///< ids and targets; pieces, their order, rows
  uint64_t tokenizerBytes = 0, textBytes = 0;
};
DataMemory dataMemory(const Corpus &corpus);

struct MemoryInput {
  const Plan &plan;
  const RunConfig &run;
  int threads = 1;
  ProgramImage image;
  std::optional<DataMemory> data; ///< nothing: not known yet
  /// Before kernels and plan are known: what they may take at most. 0: they are known.
  uint64_t programReserve = 0;
};
MemoryPlan planMemory(const MemoryInput &input);

/// How much a run of `memory` is above `limit`, what takes most of it, and what would help; nothing
/// when it fits. `what` names the limit ("target.memory").
std::optional<Error> checkLimit(const MemoryPlan &memory, uint64_t limit, const std::string &what,
                                int threads);

/// Bytes of the pages that the segments of an ELF file take when it is loaded; 0 when it is none.
uint64_t loadedBytes(std::string_view elf);
/// The same of everything that this process has loaded; of the objects whose names `only` has
/// (substrings), where it is not empty.
uint64_t loadedBytesHere(const std::vector<std::string> &only = {});

/// This process's program.
ProgramImage imageHere(const Payload &payload);
/// A training executable in a file that is to be run on this machine.
Result<ProgramImage> imageOf(const std::string &executable, const std::vector<PayloadFile> &files);

} // namespace lorac::train
