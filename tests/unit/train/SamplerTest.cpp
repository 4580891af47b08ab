#include "runtime/train/Sampler.h"

#include <gtest/gtest.h>

#include <map>

namespace lorac::train {
namespace {

const float logits[] = {1.0f, 3.0f, 2.0f, 3.0f, -1e30f};

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) { EXPECT_EQ(sampleToken(logits, 5, {}, 0), 1); }

std::map<int32_t, int> histogram(const SamplerConfig &config) {
  std::map<int32_t, int> seen;
  for (uint64_t i = 0; i < 4000; ++i)
    ++seen[sampleToken(logits, 5, config, i)];
  return seen;
}

TEST(Sampler, FollowsTheProbabilities) {
  // exp(-2), 1, exp(-1), 1: sum 2.503
  std::map<int32_t, int> seen = histogram({1.0, 0, 1.0, 7});
  EXPECT_NEAR(seen[0] / 4000.0, 0.0541, 0.015);
  EXPECT_NEAR(seen[1] / 4000.0, 0.3995, 0.03);
  EXPECT_NEAR(seen[2] / 4000.0, 0.1470, 0.02);
  EXPECT_EQ(seen.count(4), 0u);
}

TEST(Sampler, TopKAndTopP) {
  std::map<int32_t, int> k = histogram({1.0, 2, 1.0, 7});
  EXPECT_EQ(k.size(), 2u);
  EXPECT_EQ(k[1] + k[3], 4000);
  EXPECT_EQ(histogram({1.0, 1, 1.0, 7}).size(), 1u);
  EXPECT_EQ(histogram({1.0, 0, 0.79, 7}).size(), 2u);
  EXPECT_EQ(histogram({1.0, 0, 0.85, 7}).size(), 3u);
  EXPECT_EQ(histogram({1.0, 0, 1e-9, 7}).size(), 1u) << "at least one stays";
}

TEST(Sampler, MinP) {
  // Parts of the likeliest's: exp(-2), 1, exp(-1), 1.
  SamplerConfig config{1.0, 0, 1.0, 7};
  config.minP = 0.3;
  EXPECT_EQ(histogram(config).size(), 3u);
  config.minP = 0.4;
  EXPECT_EQ(histogram(config).size(), 2u);
  config.topK = 1;
  EXPECT_EQ(histogram(config).size(), 1u);
}

TEST(Sampler, RepetitionPenalty) {
  std::vector<float> changed = {1, -2, 3, -4, 0};
  const std::vector<int32_t> text = {1, 2, 1, 4};
  penalizeRepeats(changed, text, 2);
  EXPECT_EQ(changed, (std::vector<float>{1, -4, 1.5f, -4, 0}));
}

TEST(Sampler, IsAFunctionOfSeedAndIndex) {
  SamplerConfig config{1.0, 0, 1.0, 3};
  EXPECT_EQ(sampleToken(logits, 5, config, 9), sampleToken(logits, 5, config, 9));
}

} // namespace
} // namespace lorac::train
