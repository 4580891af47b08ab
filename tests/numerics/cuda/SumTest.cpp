// sum_spans and sum_whole on a device: the same bits as on the CPU.

#include "tests/numerics/cuda/OneKernel.h"
#include "tests/numerics/elementwise/SumCases.h"

using namespace lorac::test;
using namespace lorac::testing;

namespace {

class Sums : public OneKernelTest {
protected:
  static void check(const SumCase &of) {
    for (unsigned seed : {1, 2}) {
      const EachData data = randomSpans(of.regions, seed);
      OneKernel kernel("sum_spans", of.params(), of.body, int64_t(data.spans.size()));
      kernel.add(data.spans, "4xi32");
      for (const Floats &values : data.regions)
        kernel.add(values, "f32");
      const size_t sums = kernel.add(Doubles(data.spans.size(), -1), "f64");
      kernel.run();
      EXPECT_EQ(kernel.get<double>(sums), sumsOfSpans(of, data)) << "seed " << seed;
    }
  }
};

TEST_F(Sums, Squares) { check(squares()); }

TEST_F(Sums, ProductsOfTwoRegions) { check(products()); }

TEST_F(Sums, NormOfAll) {
  for (size_t count : {1, 255, 256, 1000})
    for (float maxNorm : {0.f, 1e-3f}) {
      const Doubles numbers = randomSums(count, unsigned(count));
      const NormCase of = normOfSquares();
      OneKernel kernel("sum_whole", of.params, of.body, int64_t(count));
      kernel.add(numbers, "f64");
      const size_t norm = kernel.add(Floats{maxNorm, 0.125f, -1, -1}, "f32");
      kernel.again(norm), kernel.again(norm);
      kernel.run();
      EXPECT_EQ(kernel.get<float>(norm), normOf(numbers, maxNorm, 0.125f)) << count << " sums";
    }
}

} // namespace
