#include "runtime/train/Random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace lorac::train {
namespace {

TEST(Random, PhiloxKnownAnswers) {
  // Random123's kat_vectors, philox4x32 10.
  PhiloxWords zero = philox({0, 0, 0, 0}, {0, 0});
  const uint32_t zeros[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  PhiloxWords ones = philox({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u});
  const uint32_t full[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  PhiloxWords pi =
      philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0});
  const uint32_t digits[] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(zero.w[i], zeros[i]);
    EXPECT_EQ(ones.w[i], full[i]);
    EXPECT_EQ(pi.w[i], digits[i]);
  }
}

TEST(Random, StreamsDifferByPurposeAndSeed) {
  RandomStream a(7, "a"), b(7, "b"), c(8, "a");
  int same = 0;
  for (uint64_t i = 0; i < 64; ++i)
    same += (a.word(i) == b.word(i)) + (a.word(i) == c.word(i));
  EXPECT_LT(same, 2);
  EXPECT_EQ(a.word(5), RandomStream(7, "a").word(5));
}

TEST(Random, Moments) {
  RandomStream stream(1, "moments");
  double sum = 0, squares = 0, normal = 0, normalSquares = 0;
  constexpr int n = 100000;
  for (int i = 0; i < n; ++i) {
    double u = stream.uniform(uint64_t(i));
    ASSERT_GE(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
    double x = stream.normal(uint64_t(i));
    normal += x;
    normalSquares += x * x;
  }
  EXPECT_NEAR(sum / n, 0.5, 0.005);
  EXPECT_NEAR(squares / n, 1.0 / 3, 0.005);
  EXPECT_NEAR(normal / n, 0, 0.015);
  EXPECT_NEAR(normalSquares / n, 1, 0.02);
}

TEST(Random, Permutation) {
  std::vector<uint32_t> order = permutation(1000, 7, "epoch 0");
  EXPECT_EQ(order, permutation(1000, 7, "epoch 0"));
  EXPECT_NE(order, permutation(1000, 7, "epoch 1"));
  std::sort(order.begin(), order.end());
  for (uint32_t i = 0; i < 1000; ++i)
    EXPECT_EQ(order[i], i);
  EXPECT_TRUE(permutation(0, 1, "").empty());
}

} // namespace
} // namespace lorac::train
