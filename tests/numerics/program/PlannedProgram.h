#pragma once
// A program of stage 40-fused, planned for a target and run there beside the interpreter.

#include "compiler/dialect/LoraOps.h"
#include "tests/numerics/interpreter/Support.h"

#include <functional>
#include <optional>

namespace lorac::test {

/// What a micro-batch brings, by the names of the functions' arguments.
using Inputs = std::map<std::string, reference::HostTensor>;

class PlannedProgram {
public:
  virtual ~PlannedProgram() = default;

  /// The values as the kernels see them: packed and unpacked again, parameters rounded to float32.
  const std::map<std::string, reference::HostTensor> &symbols() const { return seen; }

  /// Runs the compiled function over memory that holds nothing but its inputs.
  virtual reference::Outcome run(const std::string &function, const Inputs &inputs,
                                 const reference::Environment &environment) = 0;

  /// Runs the kernels and the interpreter: results and gradients equal to `tolerance` of each
  /// tensor's largest value.
  void expectMatch(const std::string &function, const Inputs &inputs,
                   const reference::Environment &environment = {}, double tolerance = 1e-5);

  /// How many kernels of a family it has.
  int64_t kernelsOf(llvm::StringRef family);

protected:
  /// Values for every symbol of the module are drawn (or taken from `given`). The text needs
  /// `lora.limits`; program arguments carry their names as locations.
  PlannedProgram(const std::string &text, std::map<std::string, reference::HostTensor> given);

  /// What the place holds before the first launch, in its element type; nothing where kernels write
  /// it first.
  std::optional<std::vector<char>> contents(lora::BufferOp buffer, const Inputs &inputs);

  /// Results and gradients from the bytes of their places.
  reference::Outcome outcome(const std::string &function, int64_t tokens,
                             llvm::function_ref<std::vector<char>(lora::BufferOp)> read);

  /// Bytes from the arena's start.
  static int64_t offsetOf(mlir::Value buffer);
  static int64_t tokensOf(const Inputs &inputs);
  static int64_t segmentsOf(const Inputs &inputs);

  struct Signature {
    std::vector<std::string> arguments;
    std::vector<int64_t> resultColumns; // 0: one value a token
  };

  Program described, planned;
  std::map<std::string, Signature> signatures;
  std::map<std::string, reference::HostTensor> seen;
};

} // namespace lorac::test
