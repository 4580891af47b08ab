#pragma once
// What the programs `importance`, `scores` and `zero_triplets` are held against.
//
// AdaLoRA's importance: how much the loss would change without an element (sensitivity), averaged,
// and how sure that is (uncertainty). As PEFT in float32:
//
//   I    = |p · g|                                  p after the update, g its gradient
//   Ibar = beta1·Ibar + (1 - beta1)·I               from 0, no bias correction
//   Ubar = beta2·Ubar + (1 - beta2)·|I - Ibar|      with the Ibar of this step
//   score of triplet i = s(E_i) + (mean over row i of A of s + mean over column i of B of s),
//   s = Ibar·Ubar
//
// Ibar and Ubar lie in flat regions with the layout of the parameters. The means are summed in
// double in an order that depends on the matrix alone, so threads change no bit.

#include "runtime/train/ThreadPool.h"
#include "runtime/train/ranks/TripletParams.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace lorac::train {

namespace reference {

constexpr int64_t lanes = 8;

// The mean of s over n neighbours: eight partial sums, added in order.
inline float rowMean(const float *sensitivity, const float *uncertainty, int64_t n) {
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

inline void scoreModule(const TripletLayout &module, const float *sensitivity,
                        const float *uncertainty, float *scores) {
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

} // namespace reference

inline void scoreTriplets(ThreadPool &pool, std::span<const TripletLayout> modules,
                          const float *sensitivity, const float *uncertainty, float *scores) {
  std::vector<int64_t> first;
  int64_t count = 0;
  for (const TripletLayout &module : modules) {
    first.push_back(count);
    count += module.rank;
  }
  pool.parallelFor(int64_t(modules.size()), Split::Dynamic, [&](int, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      reference::scoreModule(modules[size_t(i)], sensitivity, uncertainty,
                             scores + first[size_t(i)]);
  });
}

/// Zeroes E of `places`, in the parameters.
inline void zeroE(float *region, const std::vector<TripletLayout> &layouts,
                  const TripletSets &places) {
  for (size_t m = 0; m < layouts.size(); ++m)
    for (int32_t place : places[m])
      region[layouts[m].e + place] = 0.0f;
}

/// Zeroes whole triplets, in a region with the parameters' layout.
inline void zeroWhole(float *region, const std::vector<TripletLayout> &layouts,
                      const TripletSets &places) {
  zeroE(region, layouts, places);
  for (size_t m = 0; m < layouts.size(); ++m) {
    const TripletLayout &at = layouts[m];
    for (int32_t place : places[m]) {
      std::fill_n(region + at.a + place * at.in, at.in, 0.0f);
      for (int64_t row = 0; row < at.out; ++row)
        region[at.b + row * at.rank + place] = 0.0f;
    }
  }
}

} // namespace lorac::train

namespace lorac::train::test {

struct Importance {
  double beta1 = 0.85, beta2 = 0.85;

  /// Takes in one step. `clip` is what the update multiplied the gradients by.
  void update(std::span<const TripletLayout> modules, const float *params, const float *grads,
              float clip, float *sensitivity, float *uncertainty) const {
    const float keep1 = float(beta1), take1 = float(1 - beta1);
    const float keep2 = float(beta2), take2 = float(1 - beta2);
    for (const TripletLayout &module : modules)
      for (auto [offset, count] : {std::pair{module.a, module.rank * module.in},
                                   {module.b, module.out * module.rank},
                                   {module.e, module.rank}})
        for (int64_t i = offset; i < offset + count; ++i) {
          const float importance = std::fabs(params[i] * (grads[i] * clip));
          const float kept = keep1 * sensitivity[i], taken = take1 * importance;
          sensitivity[i] = kept + taken;
          const float doubtKept = keep2 * uncertainty[i];
          const float doubt = take2 * std::fabs(importance - sensitivity[i]);
          uncertainty[i] = doubtKept + doubt;
        }
  }
};

} // namespace lorac::train::test
