#pragma once
// A program of stage 40-fused through SelectKernels, PlanMemory and the CPU's kernels, run in this
// process beside the interpreter.

#include "compiler/dialect/LoraOps.h"
#include "runtime/train/Module.h"
#include "tests/numerics/interpreter/Support.h"

namespace lorac::test {

/// What a micro-batch brings, by the names of the functions' arguments.
using Inputs = std::map<std::string, reference::HostTensor>;

class PlannedProgram {
public:
  /// Values for every symbol of the module are drawn (or taken from `given`); frozen weights are
  /// packed in their storage format. The text needs `lora.max_tokens` and `lora.max_length`;
  /// function arguments carry their names as locations.
  explicit PlannedProgram(const std::string &text,
                          std::map<std::string, reference::HostTensor> given = {});

  /// The values as the kernels see them: packed and unpacked again, parameters rounded to float32.
  const std::map<std::string, reference::HostTensor> &symbols() const { return seen; }

  /// Runs the compiled function over an arena full of NaN; the tiles of each launch in two ranges,
  /// the later one first.
  reference::Outcome run(const std::string &function, const Inputs &inputs,
                         const reference::Environment &environment);

  /// Runs the kernels and the interpreter: results and gradients equal to `tolerance` of each
  /// tensor's largest value.
  void expectMatch(const std::string &function, const Inputs &inputs,
                   const reference::Environment &environment = {}, double tolerance = 1e-5);

private:
  struct Signature {
    std::vector<std::string> arguments;
    std::vector<int64_t> resultColumns; // 0: one value a token
  };

  void drawSymbols(std::map<std::string, reference::HostTensor> given);
  void pack(lora::FrozenOp op);
  void compile();
  void *address(mlir::Value buffer);

  Program described, planned;
  std::map<std::string, Signature> signatures;
  std::map<std::string, reference::HostTensor> seen;
  std::map<std::string, std::vector<std::vector<char>>> parts; // of frozen weights
  std::vector<char> arena, scratch;
  std::optional<train::Module> kernels;
};

} // namespace lorac::test
