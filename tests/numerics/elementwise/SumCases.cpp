#include "tests/numerics/elementwise/SumCases.h"

#include <array>
#include <cmath>
#include <limits>
#include <random>

namespace lorac::testing {

std::string SumCase::params() const {
  std::string elements = "i32";
  for (int64_t i = 0; i < regions; ++i)
    elements += " f32";
  return "what = \"squares\", regions = " + std::to_string(regions) + " : i64, elements = \"" +
         elements + " f64\"";
}

SumCase squares() {
  return {R"(
^bb0(%grad: f32 loc("grad")):
  %g = arith.extf %grad : f32 to f64
  %s = arith.mulf %g, %g : f64
  lora.yield %s : f64)",
          1, [](const float *x) { return double(x[0]) * double(x[0]); }};
}

SumCase products() {
  return {R"(
^bb0(%x: f32, %y: f32):
  %third = arith.constant 0.3333333333333333 : f64
  %a = arith.extf %x : f32 to f64
  %b = arith.extf %y : f32 to f64
  %p = arith.mulf %a, %b : f64
  %s = arith.addf %p, %third : f64
  lora.yield %s : f64)",
          2, [](const float *x) { return double(x[0]) * double(x[1]) + 0.3333333333333333; }};
}

NormCase normOfSquares() {
  return {R"(
^bb0(%total: f64, %max: f32 loc("max_norm"), %scale: f32 loc("gradient_scale")):
  %zero = arith.constant 0.0 : f32
  %one = arith.constant 1.0 : f32
  %tiny = arith.constant 1.0e-6 : f32
  %root = math.sqrt %total : f64
  %length = arith.truncf %root : f64 to f32
  %norm = arith.mulf %length, %scale : f32
  %above = arith.addf %norm, %tiny : f32
  %ratio = arith.divf %max, %above : f32
  %clipped = arith.minimumf %ratio, %one : f32
  %clips = arith.cmpf olt, %zero, %max : f32
  %factor = arith.select %clips, %clipped, %one : f32
  %clip = arith.mulf %factor, %scale : f32
  lora.yield %norm, %clip : f32, f32)",
          "what = \"norm\", ones = array<i64: 0, 1>, writes = array<i64: 2, 3>, elements = \"f64 "
          "f32 f32 f32\""};
}

double sumOf(const Doubles &numbers) {
  std::array<double, 256> partial{};
  for (size_t i = 0; i < numbers.size(); ++i)
    partial[i % 256] += numbers[i];
  for (size_t half = 128; half > 0; half /= 2)
    for (size_t i = 0; i < half; ++i)
      partial[i] += partial[i + half];
  return partial[0];
}

Doubles sumsOfSpans(const SumCase &of, const EachData &data) {
  Doubles sums;
  for (const Span &span : data.spans) {
    Doubles numbers;
    for (int32_t i = span.offset; i < span.offset + span.count; ++i) {
      Floats x;
      for (const Floats &region : data.regions)
        x.push_back(region[size_t(i)]);
      numbers.push_back(of.one(x.data()));
    }
    sums.push_back(sumOf(numbers));
  }
  return sums;
}

Floats normOf(const Doubles &sums, float maxNorm, float gradientScale) {
  const float norm = float(std::sqrt(sumOf(sums))) * gradientScale;
  const float factor = maxNorm > 0 ? std::min(1.0f, maxNorm / (norm + 1e-6f)) : 1.0f;
  return {maxNorm, gradientScale, norm, factor * gradientScale};
}

EachData randomSpans(int64_t regions, unsigned seed) {
  EachCase of;
  of.regions = regions, of.uniform = of.byGroup = 0;
  EachData data = randomData(of, seed);
  std::vector<bool> isOfSpan(data.regions[0].size());
  for (const Span &span : data.spans)
    std::fill_n(isOfSpan.begin() + span.offset, span.count, true);
  for (Floats &region : data.regions)
    for (size_t i = 0; i < region.size(); ++i)
      if (!isOfSpan[i])
        region[i] = std::numeric_limits<float>::quiet_NaN();
  return data;
}

Doubles randomSums(size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> exponent(-30, 30);
  Doubles sums;
  for (size_t i = 0; i < count; ++i)
    sums.push_back(std::pow(10, exponent(random)));
  return sums;
}

} // namespace lorac::testing
