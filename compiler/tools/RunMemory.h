#pragma once
// What a run of a project takes of memory: the lines that its trainer will count too.

#include "compiler/tools/Project.h"
#include "runtime/train/MemoryPlan.h"

#include <map>
#include <optional>
#include <string>

namespace lorac::tools {

/// What is known before a plan is: the data, the program, the threads.
struct RunFacts {
  train::RunConfig run;
  int threads = 1;
  std::optional<train::DataMemory> data; ///< nothing: it cannot be read here
  std::string dataProblem;               ///< why
  std::string executable;                ///< lorac-train; "": not found
  uint64_t programReserve = 0;           ///< for kernels and plan
  int64_t parameters = 0;                ///< trainable
  size_t tensors = 0;                    ///< that they lie in: A, B, of AdaLoRA E
  std::vector<std::string> states;       ///< of the optimizer: its regions
};

/// Reads the data of the spec as its trainer will, if the run has some.
Result<RunFacts> readRunFacts(const Project &project, bool withData = true);

/// Bytes of the host that a step needs besides weights, arena and scratch: data and program. The
/// same before a plan is known and after.
uint64_t memoryBesides(const RunFacts &facts);

/// The lines of a plan.
Result<train::MemoryPlan> runMemory(const RunFacts &facts, const std::string &planJson);

/// As a table in Markdown, and as JSON: "lines", "total_bytes", "host_bytes".
std::string memoryTable(const train::MemoryPlan &memory, const RunFacts &facts);
std::string memoryJson(const train::MemoryPlan &memory);

} // namespace lorac::tools
