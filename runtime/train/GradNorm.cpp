#include "runtime/train/GradNorm.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace lorac::train {

constexpr int64_t block = 4096;

float gradNorm(ThreadPool &pool, const float *grads, int64_t count) {
  std::vector<double> sums(size_t((count + block - 1) / block));
  pool.parallelFor(int64_t(sums.size()), Split::Shares, [&](int, int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      double sum = 0;
      for (int64_t i = b * block, last = std::min(count, i + block); i < last; ++i)
        sum += double(grads[i]) * double(grads[i]);
      sums[size_t(b)] = sum;
    }
  });
  double total = 0;
  for (double sum : sums)
    total += sum;
  return float(std::sqrt(total));
}

float clipFactor(float norm, double maxNorm) {
  if (maxNorm <= 0)
    return 1.0f;
  return std::min(1.0f, float(maxNorm) / (norm + 1e-6f));
}

} // namespace lorac::train
