#include "runtime/train/Sampler.h"

#include "runtime/train/Random.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace lorac::train {

int32_t sampleToken(const float *logits, int64_t vocab, const SamplerConfig &config,
                    uint64_t index) {
  if (config.temperature <= 0)
    return int32_t(std::max_element(logits, logits + vocab) - logits);
  std::vector<int32_t> order(static_cast<size_t>(vocab));
  std::iota(order.begin(), order.end(), 0);
  auto likelier = [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  };
  size_t kept =
      config.topK > 0 ? std::min<size_t>(size_t(config.topK), order.size()) : order.size();
  std::partial_sort(order.begin(), order.begin() + int64_t(kept), order.end(), likelier);
  order.resize(kept);
  std::vector<double> weights;
  double sum = 0;
  for (int32_t id : order) {
    weights.push_back(
        std::exp((double(logits[id]) - double(logits[order[0]])) / config.temperature));
    sum += weights.back();
  }
  double within = sum;
  if (config.topP < 1) {
    within = 0;
    size_t count = 0;
    while (count < weights.size() && (count == 0 || within < config.topP * sum))
      within += weights[count++];
    weights.resize(count);
  }
  if (config.minP > 0) {
    while (weights.back() < config.minP) // the likeliest's is 1
      weights.pop_back();
    within = std::accumulate(weights.begin(), weights.end(), 0.0);
  }
  double draw = double(RandomStream(config.seed, "generate").uniform(index)) * within;
  for (size_t i = 0; i < weights.size(); ++i) {
    draw -= weights[i];
    if (draw < 0)
      return order[i];
  }
  return order[weights.size() - 1];
}

void penalizeRepeats(std::span<float> logits, std::span<const int32_t> text, double penalty) {
  std::vector<bool> seen(logits.size());
  for (int32_t id : text) {
    if (seen[size_t(id)])
      continue;
    seen[size_t(id)] = true;
    float &logit = logits[size_t(id)];
    logit = float(logit < 0 ? double(logit) * penalty : double(logit) / penalty);
  }
}

} // namespace lorac::train
