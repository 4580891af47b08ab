#pragma once
// The tiny Llama with low-rank updates in float64, forward and backward written out by hand over
// the interpreter's ops: no pass and no kernel has a part in it.

#include "compiler/reference/Ops.h"
#include "runtime/train/Batches.h"

#include <map>
#include <string>
#include <vector>

namespace lorac::test {

/// `a : [r, in]` and `b : [out, r]` of one module, or their gradients.
struct Factors {
  reference::HostTensor a, b;
};

class PlainLlama {
public:
  /// Of tests/golden/tiny/<tied|untied>.
  explicit PlainLlama(const std::string &folder);

  /// Sum of the labels' losses with `y = x·Wᵀ + scale·(x·Aᵀ)·Bᵀ` for each module that `adapters`
  /// names (self_attn.q_proj … of model.layers.N), and the factors' gradients times `lossScale`.
  double loss(const train::MicroBatch &batch, const std::map<std::string, Factors> &adapters,
              double scale, double lossScale, std::map<std::string, Factors> &gradients) const;

  /// [out, in] of an adapted module.
  std::pair<int64_t, int64_t> shapeOf(const std::string &module) const;

private:
  std::map<std::string, reference::HostTensor> weights;
};

} // namespace lorac::test
