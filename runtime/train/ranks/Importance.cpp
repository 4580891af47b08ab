#include "runtime/train/ranks/Importance.h"

#include <vector>

namespace lorac::train {

namespace {

constexpr int64_t lanes = 8;

// The mean of s over n neighbours: eight partial sums, added in order.
float rowMean(const float *sensitivity, const float *uncertainty, int64_t n) {
  double sums[lanes] = {};
  int64_t i = 0;
  for (; i + lanes <= n; i += lanes)
    for (int64_t lane = 0; lane < lanes; ++lane)
      sums[lane] += double(sensitivity[i + lane] * uncertainty[i + lane]);
  for (; i < n; ++i)
    sums[i % lanes] += double(sensitivity[i] * uncertainty[i]);
  double total = 0;
  for (double sum : sums)
    total += sum;
  return float(total / double(n));
}

void scoreModule(const TripletLayout &module, const float *sensitivity, const float *uncertainty,
                 float *scores) {
  std::vector<double> columns(size_t(module.rank), 0.0);
  for (int64_t row = 0; row < module.out; ++row) {
    const float *s = sensitivity + module.b + row * module.rank;
    const float *u = uncertainty + module.b + row * module.rank;
    for (int64_t i = 0; i < module.rank; ++i)
      columns[size_t(i)] += double(s[i] * u[i]);
  }
  for (int64_t i = 0; i < module.rank; ++i) {
    const int64_t row = module.a + i * module.in;
    float ofA = rowMean(sensitivity + row, uncertainty + row, module.in);
    float ofB = float(columns[size_t(i)] / double(module.out));
    scores[i] = sensitivity[module.e + i] * uncertainty[module.e + i] + (ofA + ofB);
  }
}

} // namespace

void scoreTriplets(ThreadPool &pool, std::span<const TripletLayout> modules,
                   const float *sensitivity, const float *uncertainty, float *scores) {
  std::vector<int64_t> first;
  int64_t count = 0;
  for (const TripletLayout &module : modules) {
    first.push_back(count);
    count += module.rank;
  }
  pool.parallelFor(int64_t(modules.size()), Split::Dynamic, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      scoreModule(modules[size_t(i)], sensitivity, uncertainty, scores + first[size_t(i)]);
  });
}

} // namespace lorac::train
