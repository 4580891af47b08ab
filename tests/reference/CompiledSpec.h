#pragma once
// A spec compiled as `lorac compile` does and opened as `train` does, for comparisons with numbers
// made elsewhere.

#include "runtime/formats/Safetensors.h"
#include "runtime/train/Data.h"
#include "runtime/train/Session.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace lorac::test {

/// tests/golden/<name>.
std::filesystem::path golden(const std::string &name);

/// SmolLM2-135M-Instruct.Q4_1.gguf: $LORAC_SMOLLM2, else models/ at the root; "" where it is
/// absent.
std::string smolModel();

class CompiledSpec {
public:
  /// Writes `toml` into a folder of its own and compiles it; failures are the test's.
  CompiledSpec(const std::string &name, const std::string &toml);
  ~CompiledSpec();

  /// Null after a failure.
  train::Session *session() { return opened.get(); }
  const train::Corpus &data() const { return corpus; }
  const std::filesystem::path &folder() const { return root; }

  void loadAdapter(const std::filesystem::path &adapter);
  /// Step `batch` of the data.
  train::MicroBatch batch(int64_t index);
  /// Logits of all rows of a batch, [tokens][vocab].
  std::vector<float> logits(const train::MicroBatch &batch);
  /// Mean loss and, by PEFT's names, the gradients of one batch.
  double lossAndGradients(const train::MicroBatch &batch,
                          std::map<std::string, std::vector<float>> &gradients);
  /// Runs the generated binary as the spec says, into folder()/out; the lines of metrics.jsonl.
  std::vector<std::map<std::string, double>> train();

private:
  void open(const std::string &name, const std::string &toml);

  std::filesystem::path root;
  std::unique_ptr<train::Session> opened;
  train::Corpus corpus;
};

/// The largest |x - y| over the largest |y|.
double errorOf(const std::vector<float> &x, const std::vector<float> &y);

} // namespace lorac::test
