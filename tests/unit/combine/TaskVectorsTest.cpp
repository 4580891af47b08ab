#include "runtime/combine/TaskVectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lorac::combine {
namespace {

/// By sorting all of them.
std::vector<float> kept(std::vector<float> values, int64_t skip, int64_t keep) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t(0));
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return std::abs(values[a]) > std::abs(values[b]); });
  for (size_t rank = 0; rank < order.size(); ++rank)
    if (int64_t(rank) < skip || int64_t(rank) >= skip + keep)
      values[order[rank]] = 0;
  return values;
}

// With many equal values, since the bounds lie among them.
TEST(TaskVectors, KeepsByMagnitude) {
  const train::RandomStream random(7, "values");
  for (const uint32_t different : {2u, 3u, 5u, 1000u}) {
    std::vector<float> values;
    for (uint64_t i = 0; i < 41; ++i)
      values.push_back((random.word(2 * i) % 2 ? 1.0f : -1.0f) *
                       float(random.word(2 * i + 1) % different));
    for (int64_t skip = 0; skip < 41; ++skip)
      for (int64_t keep = 0; skip + keep <= 41; ++keep) {
        std::vector<float> ours = values;
        keepByMagnitude(ours, skip, keep);
        EXPECT_EQ(ours, kept(values, skip, keep)) << different << " " << skip << " " << keep;
      }
  }
}

TEST(TaskVectors, Draws) {
  const train::RandomStream stream(3, "combine 0 tensor");
  const std::vector<uint8_t> mask = drawn(10000, 0.3, stream);
  const auto count = std::count(mask.begin(), mask.end(), 1);
  EXPECT_NEAR(double(count), 3000, 4 * std::sqrt(10000 * 0.3 * 0.7));
  EXPECT_EQ(drawn(10000, 0.3, stream), mask);
  EXPECT_EQ(drawn(100, 1, stream), std::vector<uint8_t>(100, 1));
}

} // namespace
} // namespace lorac::combine
