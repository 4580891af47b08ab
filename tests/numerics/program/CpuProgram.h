#pragma once
// A program on the CPU's kernels, in this process.

#include "runtime/train/Module.h"
#include "tests/numerics/program/PlannedProgram.h"

namespace lorac::test {

class CpuProgram : public PlannedProgram {
public:
  /// Frozen weights are packed in their storage format.
  explicit CpuProgram(const std::string &text,
                      std::map<std::string, reference::HostTensor> given = {});

  /// Over an arena full of NaN; the tiles of each launch in two ranges, the later one first.
  reference::Outcome run(const std::string &function, const Inputs &inputs,
                         const reference::Environment &environment) override;

private:
  void pack(lora::FrozenOp op);
  void compile();

  std::map<std::string, std::vector<std::vector<char>>> parts; // of frozen weights
  std::vector<char> arena, scratch;
  std::optional<train::Module> kernels;
};

} // namespace lorac::test
