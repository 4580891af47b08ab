#pragma once
// The tiny Llama of tests/golden/tiny as MLIR text (10-model), and its golden tensors.

#include "compiler/reference/Interpreter.h"
#include <map>
#include <string>
#include <vector>

namespace lorac::test {

/// A module with `@hidden(ids, positions, segments)`, `@head(h)` and `@loss(h, labels)`.
/// `adapterScale` not 0: `lora.adapter`s ask for rank 4 on all seven linears of each layer, with
/// dropout `dropout`, by LoRA or the method that is named.
std::string tinyLlama(bool tied, double adapterScale, double dropout = 0,
                      const std::string &method = "lora");

/// All tensors of tests/golden/<path>; a file that cannot be read fails the test.
std::map<std::string, reference::HostTensor> golden(const std::string &path);

/// A batch as lorac sees it: samples one after another, labels shifted inside each.
struct Batch {
  reference::HostTensor ids, positions, segments, labels;
  double labelCount = 0;

  /// The four arguments of `@train`.
  std::vector<reference::HostTensor> arguments() const {
    return {ids, positions, segments, labels};
  }
};
/// From Hugging Face's `[samples, length]` ids and unshifted labels; `mask` (may be null) is 0 at
/// padding, which is left out.
Batch batchOf(const reference::HostTensor &ids, const reference::HostTensor &labels,
              const reference::HostTensor *mask = nullptr);

} // namespace lorac::test
