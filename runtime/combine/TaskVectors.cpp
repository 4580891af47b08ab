#include "runtime/combine/TaskVectors.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace lorac::combine {

void keepByMagnitude(std::span<float> values, int64_t skip, int64_t keep) {
  if (keep <= 0) {
    std::fill(values.begin(), values.end(), 0.0f);
    return;
  }
  std::vector<float> sorted(values.size());
  std::transform(values.begin(), values.end(), sorted.begin(),
                 [](float value) { return std::abs(value); });
  const auto at = [&](int64_t rank) {
    std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end(), std::greater<>());
    return sorted[size_t(rank)];
  };
  const float most = at(skip), least = at(skip + keep - 1);
  // Of the elements that equal one of the bounds only some stay.
  int64_t skipped = skip, left = keep;
  for (const float value : values) {
    skipped -= std::abs(value) > most;
    left -= std::abs(value) < most && std::abs(value) > least;
  }
  if (most > least)
    left -= std::count_if(values.begin(), values.end(),
                          [&](float value) { return std::abs(value) == most; }) -
            skipped;
  for (float &value : values) {
    const float size = std::abs(value);
    bool stays = size < most && size > least;
    if (size == most && skipped > 0)
      --skipped;
    else if (size == most && most > least)
      stays = true;
    else if (size == least && left > 0)
      stays = left-- > 0;
    if (!stays)
      value = 0;
  }
}

std::vector<uint8_t> drawn(int64_t count, double density, const train::RandomStream &stream) {
  std::vector<uint8_t> mask;
  mask.reserve(size_t(count));
  for (int64_t i = 0; i < count; ++i)
    mask.push_back(double(stream.uniform(uint64_t(i))) < density);
  return mask;
}

std::vector<float> weightedSum(const Tasks &tasks, std::span<const float> weights) {
  std::vector<float> sum(tasks.front().size(), 0.0f);
  for (size_t task = 0; task < tasks.size(); ++task)
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += weights[task] * tasks[task][i];
  return sum;
}

} // namespace lorac::combine
