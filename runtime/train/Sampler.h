#pragma once
// The next token from logits.

#include <cstdint>
#include <vector>

namespace lorac::train {

struct SamplerConfig {
  double temperature = 0; ///< 0: the most likely token (the lowest id on a tie)
  int64_t topK = 0;       ///< keep this many of the most likely; 0: all
  double topP = 1;        ///< then the fewest whose probabilities reach this sum
  uint64_t seed = 0;
};

/// The token for position `index` of a text: a function of logits, configuration and index.
int32_t sampleToken(const float *logits, int64_t vocab, const SamplerConfig &config,
                    uint64_t index);

} // namespace lorac::train
