#pragma once
// Loss of each sample, and its logits.

#include "runtime/Result.h"
#include "runtime/train/Session.h"

#include <string>
#include <vector>

namespace lorac::train {

struct SampleLoss {
  int64_t tokens = 0, labels = 0;
  double sum = 0; ///< of token losses
  bool heldOut = false;
};

/// Losses of all samples in file order; pieces of a split sample are added up. With `logitsFile`
/// the logits go there as safetensors: `logits.<sample>` [tokens, vocab] float32 and
/// `input_ids.<sample>` [tokens] int32, a sample's pieces one after another. `sampleCount` > 0:
/// only the first ones.
Result<std::vector<SampleLoss>> evaluateSamples(Session &session, const Corpus &corpus,
                                                const std::string &logitsFile, int64_t sampleCount);

} // namespace lorac::train
