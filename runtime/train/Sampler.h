#pragma once
// The next token from logits.

#include <cstdint>
#include <span>

namespace lorac::train {

struct SamplerConfig {
  double temperature = 0; ///< 0: the most likely token (the lowest id on a tie)
  int64_t topK = 0;       ///< keep this many of the most likely; 0: all
  double topP = 1;        ///< then the fewest whose probabilities reach this sum
  uint64_t seed = 0;
  double minP = 0; ///< then those with at least this part of the likeliest's probability
  double repetitionPenalty = 1; ///< of tokens that the text holds, before all else
};

/// The token for position `index` of a text: a function of logits, configuration and index.
int32_t sampleToken(const float *logits, int64_t vocab, const SamplerConfig &config,
                    uint64_t index);

/// Makes tokens of `text` less likely, each once: a logit below 0 is multiplied by the penalty, any
/// other divided by it (Keskar et al. 2019, section 4.1).
void penalizeRepeats(std::span<float> logits, std::span<const int32_t> text, double penalty);

} // namespace lorac::train
