// sum_spans and sum_whole: to the bit as loops in the stated order, whatever the vectors.

#include "tests/numerics/elementwise/KernelFixture.h"
#include "tests/numerics/elementwise/SumCases.h"

#include <random>

namespace lorac::testing {
namespace {

class Sums : public KernelTest {
protected:
  void check(const SumCase &of) {
    const Kernel kernel = compile("sum_spans", of.params(), of.body);
    for (unsigned seed : {1, 2, 3}) {
      const EachData data = randomSpans(of.regions, seed);
      const Array<Span> spans(data.spans);
      std::vector<Array<float>> regions;
      std::vector<void *> buffers{spans.data()};
      for (const Floats &values : data.regions)
        buffers.push_back(regions.emplace_back(values).data());
      for (auto how : {&Kernel::run, &Kernel::runInPieces}) {
        const Array<double> sums(Doubles(data.spans.size(), -1));
        buffers.push_back(sums.data());
        (kernel.*how)(buffers, int64_t(data.spans.size()), {});
        EXPECT_EQ(sums.values(), sumsOfSpans(of, data)) << "seed " << seed;
        buffers.pop_back();
      }
    }
  }
};
LORAC_ON_EACH_CPU(Sums);
INSTANTIATE_TEST_SUITE_P(Avx512, Sums, ::testing::Values("x86-64-v4"));

TEST_P(Sums, Squares) { check(squares()); }

TEST_P(Sums, ProductsOfTwoRegions) { check(products()); }

TEST_P(Sums, NormOfAll) {
  const Kernel kernel = compile("sum_whole", normOfSquares().params, normOfSquares().body);
  for (size_t count : {1, 7, 255, 256, 257, 1000})
    for (float maxNorm : {0.f, 1e-3f, 1e30f}) {
      const Doubles numbers = randomSums(count, unsigned(count));
      const Array<double> sums(numbers);
      const float nan = std::numeric_limits<float>::quiet_NaN();
      const Array<float> norm(Floats{maxNorm, 0.125f, nan, nan});
      kernel.run({sums.data(), norm.data(), norm.data(), norm.data()}, int64_t(count));
      EXPECT_EQ(norm.values(), normOf(numbers, maxNorm, 0.125f)) << count << " sums";
    }
}

// The runtime's own norm, which these programs took the place of, added in order: another order of
// float64 is no other float32.
TEST_P(Sums, NormIsThatOfAnyOrder) {
  const Kernel squared = compile("sum_spans", squares().params(), squares().body),
               whole = compile("sum_whole", normOfSquares().params, normOfSquares().body);
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  for (int turn = 0; turn < 20; ++turn) {
    std::vector<Span> table;
    Floats g;
    double sum = 0;
    for (int32_t count : {4096, 1000, 64, 1}) {
      table.push_back({int32_t(g.size()), count, 0, 0});
      for (int32_t i = 0; i < count; ++i) {
        g.push_back(normal(random));
        sum += double(g.back()) * double(g.back());
      }
    }
    const Array<Span> spans(table);
    const Array<float> grads(g), norm(Floats{0.5f, 1, 0, 0});
    const Array<double> sums(Doubles(table.size()));
    squared.run({spans.data(), grads.data(), sums.data()}, int64_t(table.size()));
    whole.run({sums.data(), norm.data(), norm.data(), norm.data()}, int64_t(table.size()));
    const float wanted = float(std::sqrt(sum));
    EXPECT_EQ(norm[2], wanted);
    EXPECT_EQ(norm[3], std::min(1.0f, 0.5f / (wanted + 1e-6f)));
  }
}

} // namespace
} // namespace lorac::testing
